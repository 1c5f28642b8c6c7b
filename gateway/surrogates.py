r"""Halves of surrogate pairs in the strings of a long JSON text, replaced before it is parsed: once, and not twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from gateway.json_strings import row_of_backslashes

#: U+FFFD escaped: as long as what it replaces.
ESCAPED: Final = rb"\ufffd"
#: Escapes of surrogates, or pairs of them, that are looked at in one text; strings are cut at the next.
_MOST: Final = 32
#: Words such as `audio` that are told from escapes before that is left to a search.
_FEW: Final = 16
_BACKSLASH: Final = ord("\\")
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_PAIR: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


def has_surrogates(text: bytes) -> bool:
    """Return whether there may be escapes of surrogates in a text, or in one string.

    Looked for without the backslash: in a row of these, a search for all three characters stops at each.
    """
    for letters in (b"ud", b"uD"):
        at = -1
        for _ in range(_FEW):
            at = text.find(letters, at + 1)
            if at < 0:
                break
            if text[at - 1] == _BACKSLASH:
                return True
        else:
            return True
    return False


class Surrogates:
    """Replaces halves of pairs in the strings of one text."""

    def __init__(self) -> None:
        self._left = _MOST
        #: Whether any was replaced.
        self.replaced = False

    def without_halves(self, string: bytes) -> bytes:
        """Return a string with U+FFFD for halves, cut off where there are too many escapes of surrogates."""
        parts: list[bytes] = []
        done = 0
        for at in _escapes(string):
            if at < done:  # the second half of a pair
                continue
            self._left -= 1
            is_hidden = at > 0 and string[at - 1] == _BACKSLASH and row_of_backslashes(string, at) % 2 == 1
            if self._left < 0:
                self.replaced = True
                return b"".join((*parts, string[done : at - is_hidden], ESCAPED))
            if is_hidden:  # what looks like an escape follows an escaped backslash
                continue
            if pair := _PAIR.match(string, at):
                parts.append(string[done : pair.end()])
                done = pair.end()
            elif half := _HALF.match(string, at):
                parts += (string[done:at], ESCAPED)
                self.replaced = True
                done = half.end()
        return b"".join((*parts, string[done:]))


def _escapes(string: bytes) -> Iterator[int]:
    """Yield where those of surrogates may begin."""
    lower, upper = string.find(rb"\ud"), string.find(rb"\uD")
    while lower >= 0 or upper >= 0:
        if upper < 0 or 0 <= lower < upper:
            yield lower
            lower = string.find(rb"\ud", lower + 1)
        else:
            yield upper
            upper = string.find(rb"\uD", upper + 1)

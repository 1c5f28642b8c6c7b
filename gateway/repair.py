"""U+FFFD for bytes that are not UTF-8 and for halves of surrogate pairs, so that the JSON around them can be parsed.

The cost is bounded: of a long text, each string is cut before anything else is done with it; and behind the first
thousand bytes, or fifteen hundred characters from the first half on, strings are cut off at the next.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, Final

import orjson

from gateway.json_strings import divided
from gateway.long_text import BROKEN, SHORT, shortened

#: U+FFFD, which replaces what can't be stored.
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
#: Bytes that are replaced one by one.
MOST: Final = 1_000
#: Characters from the first half of a pair on, among which halves are replaced one by one.
MOST_CHARACTERS: Final = 1_500

_HIGH: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
#: Half of a surrogate pair without the other one, in a text without escaped backslashes.
_HALF: Final = re.compile(f"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}")
#: Where a parser stops at it.  What is before it is not looked at: `\\ud83d` is an escaped backslash and five letters.
_SURROGATE: Final = re.compile(f"{_HIGH}|{_LOW}")
#: Stands for an escaped backslash, which must not look like the beginning of what follows it; no JSON has it.
_HIDDEN: Final = "\x01\x01"
#: U+FFFD escaped: as long as what it replaces, and text stays ASCII.
_ESCAPED: Final = r"\ufffd"
#: Characters before which a text may be cut within a pair.
_PAIR: Final = 12
#: Strings with such bytes behind those that keep what is before them: to find it takes 2 µs.
_FEW_WRONG: Final = 32
#: Bytes that are decoded at once.
_WINDOW: Final = 4096


class NotJson(ValueError):
    """The text is not JSON, also with U+FFFD for what is not Unicode; at which character."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def is_broken(decoded: str, position: int) -> bool:
    """Return whether what a parser has found at a position is no Unicode; where it is not UTF-8, nothing is decoded."""
    return not decoded or _SURROGATE.match(decoded, position) is not None


def parse(text: bytes, decoded: str, position: int) -> Any:
    """Return the value of a JSON text that `is_broken`, with U+FFFD for what is not Unicode.

    Raises `NotJson`, or `json_strings.TooMuch`.
    """
    if len(text) > SHORT:
        text, decoded = shortened(text, BROKEN)[0], ""
    if not decoded:
        decoded = _decode(text)
        try:
            return orjson.loads(decoded)
        except orjson.JSONDecodeError as error:
            position = error.pos
        if not _SURROGATE.match(decoded, position):
            raise NotJson(position)
    try:
        return orjson.loads(_without_halves(decoded, position))
    except orjson.JSONDecodeError as error:
        position = error.pos
    raise NotJson(position)


def _decode(text: bytes) -> str:
    """Return the text with U+FFFD for bytes that are not UTF-8; behind `MOST` of them, strings are cut at the next."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        pass
    parts: list[str] = []
    at = wrong = 0
    while at < len(text) and wrong < MOST:
        part, length = codecs.utf_8_decode(text[at : at + _WINDOW], "replace", at + _WINDOW >= len(text))
        wrong += part.count(REPLACEMENT)
        parts.append(part)
        at += length
    parts.append(_cut_at_bytes(text[at:]).decode(errors="replace"))
    return "".join(parts)


def _cut_at_bytes(text: bytes) -> bytes:
    """Return a text with each string cut off at the first byte that is not UTF-8."""
    first = _first_wrong(text)
    if first < 0:
        return text
    pieces, _ = divided(text[first:], inside=True)
    left = _FEW_WRONG
    for number in range(0, len(pieces), 2):
        piece = pieces[number]
        if not piece.isascii() and (wrong := _first_wrong(piece) if left else 0) >= 0:
            pieces[number] = piece[:wrong] + REPLACEMENT.encode()
            left -= left > 0
    return text[:first] + b'"'.join(pieces)


def _first_wrong(text: bytes) -> int:
    """Return where the first byte is that is not UTF-8, -1 where there is none."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def _without_halves(text: str, at: int) -> str:
    """Return a text without halves of surrogate pairs, of which the first is at `at`."""
    end = _end_of_region(text, at)
    region = text[at:end]
    if _HIDDEN[0] not in region:
        hidden = region.replace("\\\\", _HIDDEN)
        region = _HALF.sub(_ESCAPED.replace("\\", r"\\"), hidden).replace(_HIDDEN, "\\\\")
    return text[:at] + region + _cut_at_escapes(text, end)


def _end_of_region(text: str, at: int) -> int:
    """Return the end of what is looked at one by one, not within an escape."""
    end = at + MOST_CHARACTERS
    if end >= len(text):
        return len(text)
    escape = text.find("\\", end - _PAIR, end)
    return end if escape < 0 else at + len(text[at:escape].rstrip("\\"))


def _cut_at_escapes(text: str, at: int) -> str:
    """Return the rest of a text from `at`, each string of it cut off at the first escape that may be of a surrogate."""
    if at >= len(text):
        return ""
    parts: list[str] = []
    pieces, _ = divided(text[at:].encode("ascii", "replace"), inside=True)
    for piece in pieces:
        end = at + len(piece)
        found = _first_escape(text, at, end)
        # Before all backslashes in a row, however many: the last ones may be an escaped backslash.
        parts.append(text[at:end] if found < 0 else text[at:found].rstrip("\\") + _ESCAPED)
        at = end + 1
    return '"'.join(parts)


def _first_escape(text: str, at: int, end: int) -> int:
    """Return where the first escape begins that may be of a surrogate, -1 where there is none."""
    lower = text.find(r"\ud", at, end)
    upper = text.find(r"\uD", at, end if lower < 0 else lower)
    return lower if upper < 0 else upper

r"""Where the strings of a JSON text are, found without parsing it: it may hold what no parser takes.

Most have no escaped quote, and searches for quotes skip what is between them.  From the first that has many on, four
characters are left of the text: `a` for a quote, `n` for what begins a value, a backslash and `b` for the rest.
Python's decoder of its own escapes, among which are `\\`, `\a`, `\n` and `\b`, takes a tenth of what a pattern takes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

#: Strings of one pageview: a hundred fields.
MOST_STRINGS: Final = 200
#: Bytes of a string that `shorten` leaves as it is in any case.
_SHORTEST: Final = 256
#: Escaped quotes of one string that are passed over one by one, and backslashes in a row that are counted.
_FEW_QUOTES: Final = 16
_LONG_RUN: Final = 64
#: The same of a row that is measured by comparing.
_LONGEST_ROW: Final = 16 * 1024
#: Bytes before which a cut may be within an escape, or between those of a surrogate pair.
_LONGEST_ESCAPE: Final = 12
_BACKSLASH: Final = ord("\\")
#: What a string ends with that was cut.
_CUT: Final = rb"\ufffd"
_HIGH: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")

_MARKS: Final = bytes(
    ord("a" if each == '"' else "n" if each in ",[{" else each if each == "\\" else "b")
    for each in map(chr, range(256))
)
#: What escapes become.
_DECODED: Final = b"\x07\b\n\\"


class TooMuch(ValueError):
    """There is more to replace, or more strings to look for it, than in any text that a browser sends."""


def marks(text: bytes) -> bytes:
    """Return the text's marks."""
    return text.translate(_MARKS)


def unescaped(marked: bytes | memoryview) -> bytes:
    """Return marks without escapes: no escaped quote is an `a` any more."""
    try:
        return codecs.escape_decode(marked)[0]
    except ValueError:  # a backslash at the end
        return codecs.escape_decode(marked[:-1])[0]


def is_escaped(text: bytes, start: int, at: int) -> bool | None:
    """Return whether the character at `at` of a string from `start` on is escaped, None where that takes long."""
    if text[at - 1] != _BACKSLASH:
        return False
    before = text[max(start, at - _LONG_RUN) : at]
    backslashes = len(before) - len(before.rstrip(b"\\"))
    if backslashes == _LONG_RUN:
        backslashes = _row_of_backslashes(text, max(start, at - _LONGEST_ROW), at)
        if backslashes == _LONGEST_ROW:
            first = text.find(b"\\", start)
            if text.count(b"\\", first, at) != at - first:
                return None
            backslashes = at - first  # there are no others in the string
    return backslashes % 2 == 1


def strings(text: bytes, at: int, *, inside: bool = False) -> Iterator[tuple[int, int]]:
    """Yield where the quotes around each string are, from `at` on, which is `inside` of one or of none.

    Raises `TooMuch` beyond `MOST_STRINGS`.
    """
    start = at - 1 if inside else text.find(b'"', at)
    for _ in range(MOST_STRINGS):
        if start < 0 and not inside:
            return
        end = _end(text, start)
        if end is None:
            yield from _strings_by_marks(text, start)
            return
        yield start, end
        start, inside = text.find(b'"', end + 1), False
    raise TooMuch


def _end(text: bytes, start: int) -> int | None:
    """Return where a string ends, None where that takes long."""
    at = start + 1
    for _ in range(_FEW_QUOTES):
        end = text.find(b'"', at)
        if end < 0:
            return len(text)  # this is no JSON
        escaped = is_escaped(text, start + 1, end)
        if not escaped:
            return end if escaped is False else None
        at = end + 1
    return None


def _strings_by_marks(text: bytes, start: int) -> Iterator[tuple[int, int]]:
    left = unescaped(memoryview(marks(text))[start + 1 :])
    at = 0
    for _ in range(MOST_STRINGS):
        mark = left.find(b"a", at)
        if mark < 0:
            yield start, len(text)  # this is no JSON
            return
        # From what is shorter, before it or behind.
        behind = mark - at > len(left) - mark
        end = len(text) - _characters(left[mark:]) if behind else start + 1 + _characters(left[at:mark])
        yield start, end
        at = left.find(b"a", mark + 1) + 1
        if not at:
            return
        start = end + at - 1 - mark  # no escape is between strings
    raise TooMuch


def _characters(left: bytes) -> int:
    """Return how many characters marks stand for: two for each escape."""
    return 2 * len(left) - len(left.translate(None, _DECODED))


def shorten(text: bytes, longest: int, together: int) -> bytes:
    """Return a text with long strings cut, and U+FFFD at their end; raises `TooMuch`.

    Each keeps `longest` bytes at most, and half of what those before it have left of `together`.
    """
    parts: list[bytes] = []
    done, left = 0, together
    for start, end in strings(text, 0):
        most = max(_SHORTEST, min(longest, left // 2))
        left -= min(end - start, most)
        if end - start > most:
            parts += (text[done : _before_character(text, start + 1, start + most)], _CUT)
            done = end
    return b"".join((*parts, text[done:]))


def _before_character(text: bytes, start: int, at: int) -> int:
    """Return a place in the string at `start`, not behind `at`, where no character or escape is cut in two."""
    escape = text.find(b"\\", max(start, at - _LONGEST_ESCAPE), at)
    if escape >= 0:
        row = _row_of_backslashes(text, start, escape)
        at = escape - row % 2
        return at - _LONGEST_ESCAPE // 2 if _HIGH.match(text, max(start, at - _LONGEST_ESCAPE // 2), at) else at
    for _ in range(3):
        at -= text[at] & 0xC0 == 0x80
    return at


def _row_of_backslashes(text: bytes, start: int, at: int) -> int:
    """Return how many are in a row before `at`; comparing takes less than `rstrip` for thousands."""
    least, most = 0, at - start
    while least < most:
        middle = (least + most + 1) // 2
        if text[at - middle : at] == b"\\" * middle:
            least = middle
        else:
            most = middle - 1
    return least

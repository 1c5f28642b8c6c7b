r"""Where the strings of a JSON text are, found without parsing it: it may hold what no parser takes.

Where no quote is escaped, quotes divide a text into what is in strings and what is not.  Otherwise three characters are
left of it first: `a` for a quote, a backslash and `b` for the rest.  Python's decoder of its own escapes, among which
are `\\`, `\a` and `\b`, takes a tenth of what a pattern takes.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

#: Strings of one text, names included, that are told apart: 125 fields; and where quotes are escaped, 100.
MOST_STRINGS: Final = 250
MOST_HARD: Final = 200
#: Escapes of a text with escaped quotes; 20 KiB of JSON in a string have fewer, and 4 KiB of quotes have as many.
MOST_ESCAPES: Final = 4 * 1024
#: Bytes of strings with escapes beside the longest one.
MOST_BESIDE: Final = 16 * 1024
#: Bytes that are decoded at once.
_WINDOW: Final = 8 * 1024
#: Bytes behind the first escape of which one may be of a quote.
_BEGINNING: Final = 4_096
#: Bytes before which a cut may be within an escape, or between those of a surrogate pair.
_LONGEST_ESCAPE: Final = 12
#: Backslashes in a row that are counted as they come.
_FEW: Final = 32
_HIGH: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")

_MARKS: Final = bytes(ord("a" if each == '"' else each if each == "\\" else "b") for each in map(chr, range(256)))
#: What escapes become.
_DECODED: Final = b"\x07\b\\"


class TooMuch(ValueError):
    """There is more in a text than any sender of pageviews has; the message says of what."""


def divided(text: bytes, *, inside: bool = False) -> tuple[list[bytes], int]:
    """Return what is outside and inside of strings, in turns, without the quotes; and how many escapes there are.

    These are counted, and cost something, where quotes are escaped; else the number is 0.

    The text begins `inside` of a string or not.  Quotes between the pieces give it again.  Raises `TooMuch`.
    """
    escape = text.find(b"\\")
    if escape >= 0 and text.find(b'\\"', escape, escape + _BEGINNING) >= 0:
        return _divided_by_marks(text, inside)
    pieces = text.split(b'"', 2 * MOST_STRINGS + 1)
    if escape >= 0 and True in [piece.endswith(b"\\") for piece in pieces]:
        return _divided_by_marks(text, inside)
    if len(pieces) > 2 * MOST_STRINGS + 1:
        raise TooMuch(f"over {MOST_STRINGS} strings")
    return pieces, 0


def _divided_by_marks(text: bytes, inside: bool) -> tuple[list[bytes], int]:
    unescaped, escapes = _bounded(text.translate(_MARKS))
    marked = unescaped.split(b"a", 2 * MOST_HARD + 1)
    if len(marked) > 2 * MOST_HARD + 1:
        raise TooMuch(f"over {MOST_HARD} strings, and escaped quotes")
    sizes = _sizes(marked, len(text), inside)
    pieces: list[bytes] = []
    at = 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size + 1
    return pieces, escapes


def _bounded(marked: bytes) -> tuple[bytes, int]:
    """Return marks without escapes, and how many these were; raises `TooMuch` before many are decoded."""
    parts: list[bytes] = []
    at = escapes = 0
    while at < len(marked):
        window = marked[at : at + _WINDOW]
        if len(window) == _WINDOW and row_of_backslashes(window, _WINDOW) % 2:
            window = window[:-1]  # no escape is cut in two
        parts.append(_unescaped(window))
        at += len(window)
        escapes += len(window) - len(parts[-1])
        if escapes > MOST_ESCAPES:
            raise TooMuch(f"over {MOST_ESCAPES} escapes, and escaped quotes")
    return b"".join(parts), escapes


def _sizes(marked: list[bytes], together: int, inside: bool) -> list[int]:
    """Return how many bytes of a text the pieces of its marks stand for."""
    sizes = list(map(len, marked))
    # The longest piece has the bytes that the others don't have: to count escapes takes as long as finding them.
    longest = sizes.index(max(sizes))
    beside = 0
    # No escape is between strings.  A text that begins `inside` of one may do so by guess.
    for number in range(len(marked)) if inside else range(1, len(marked), 2):
        if number != longest and marked[number] != b"b" * sizes[number]:
            beside += sizes[number]
            if beside > MOST_BESIDE:
                raise TooMuch(f"over {MOST_BESIDE} bytes of strings with escapes beside a longer one")
            sizes[number] = _size(marked[number])
    sizes[longest] = 0
    sizes[longest] = together - sum(sizes) - (len(marked) - 1)
    return sizes


def has_many_outside(text: bytes, characters: bytes, most: int) -> bool:
    """Return whether a text has more than so many of some ASCII characters outside of its strings, or too many strings.

    For texts of a few thousand bytes: each quote outside of an escape costs something.
    """
    if len(text) - len(text.translate(None, characters)) <= most:  # in strings or not
        return False
    marks = bytearray(_MARKS)
    for each in characters:
        marks[each] = ord("n")
    pieces = _unescaped(text.translate(marks)).split(b"a", 4 * most + 1)
    if len(pieces) > 4 * most + 1:  # two quotes for each name and each value
        return True
    return b"".join(pieces[::2]).count(b"n") > most


def beginning(string: bytes, most: int) -> bytes:
    """Return at most so many bytes of a longer string, in which no character or escape is cut in two."""
    at = most
    escape = string.find(b"\\", max(0, at - _LONGEST_ESCAPE), at)
    if escape >= 0:
        at = escape - row_of_backslashes(string, escape) % 2
        half = max(0, at - _LONGEST_ESCAPE // 2)
        return string[:half] if _HIGH.match(string, half, at) else string[:at]
    for _ in range(3):
        at -= string[at] & 0xC0 == 0x80
    return string[:at]


def row_of_backslashes(text: bytes, at: int) -> int:
    """Return how many are in a row before `at`; comparing takes less than `rstrip` for thousands, more for a few."""
    beside = text[max(0, at - _FEW) : at]
    least, most = len(beside) - len(beside.rstrip(b"\\")), at
    if least < len(beside):
        return least
    while least < most:
        middle = (least + most + 1) // 2
        if text[at - middle : at] == b"\\" * middle:
            least = middle
        else:
            most = middle - 1
    return least


def _unescaped(marked: bytes) -> bytes:
    """Return marks without escapes: no escaped quote is an `a` any more."""
    try:
        return codecs.escape_decode(marked)[0]
    except ValueError:  # a backslash at the end
        return codecs.escape_decode(marked[:-1])[0]


def _size(marks: bytes) -> int:
    """Return how many bytes marks stand for: two for each escape."""
    return 2 * len(marks) - len(marks.translate(None, _DECODED))

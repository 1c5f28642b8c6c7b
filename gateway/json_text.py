"""Parsing of JSON that may contain bytes that are not UTF-8, or halves of surrogate pairs.

Visitors choose the text of URLs, referrers and user agents.  Web servers pass on the bytes of a request as they came
(nginx's `escape=json`, Varnish), and a JavaScript `slice()` can cut an emoji in half.  Such text must not cost the
pageview, so it is replaced with U+FFFD.  Otherwise it is as strict as orjson: no NaN, no trailing data, bounded depth.
"""

from __future__ import annotations

import codecs
from typing import Any, Final, NamedTuple

import orjson

from gateway.repair import TooMuch, repair

#: A byte order mark, which RFC 8259 lets parsers ignore: editors and PowerShell write one at the start of a file.
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: Values of one pageview.  Parsing 64 KiB of `[],[],…` takes forty times as long as of a usual pageview.
MAX_VALUES: Final = 1_000
#: A text of this length can't hold enough to matter.
_SHORT: Final = 4_096
#: Strings that are looked for one by one.  Nearly always it is all, and their length costs nothing.
_FEW_STRINGS: Final = 64
#: Backslashes in a row that are counted; `rstrip` takes longer than anything else for thousands.
_LONG_RUN: Final = 64
_BACKSLASH: Final = ord("\\")
_MARKS: Final = bytes(
    ord("a" if each == '"' else "n" if each in ",[{" else each if each == "\\" else "b")
    for each in map(chr, range(256))
)


class NotJson(ValueError):
    """The text is not JSON: what is wrong, without quoting it, and at which character."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.position = position


class Parsed(NamedTuple):
    """A JSON value, and whether some of its text was replaced with U+FFFD."""

    value: Any
    repaired: bool


def parse(text: bytes | memoryview) -> Parsed:
    """Parse one JSON value, with or without a byte order mark before it; raises `NotJson`."""
    if text[:3] == BYTE_ORDER_MARK:
        text = text[3:]
    if len(text) > _SHORT and _has_many_values(bytes(text)):
        raise NotJson(f"has over {MAX_VALUES} values", 0)
    try:
        return Parsed(orjson.loads(text), False)
    except orjson.JSONDecodeError as error:
        position = error.pos
    try:
        repaired = repair(bytes(text))
    except TooMuch:
        raise NotJson("has too much that is not UTF-8", position) from None
    if repaired is None:
        raise NotJson("is not valid JSON", position)
    try:
        return Parsed(orjson.loads(repaired), True)
    except orjson.JSONDecodeError as error:
        position = error.pos
    raise NotJson("is not valid JSON, and part of it is not UTF-8", position)


def _has_many_values(text: bytes) -> bool:
    """Return whether what may be JSON has many values, in time that hardly depends on what is in its strings."""
    outside: list[bytes] = []
    at = 0
    for _ in range(_FEW_STRINGS):
        start = text.find(b'"', at)
        end = text.find(b'"', start + 1)
        if start < 0 or end < 0:  # the rest is in no string, or in one that has no end
            outside.append(text[at:start] if start >= 0 else text[at:])
            return _beginnings(b"".join(outside)) > MAX_VALUES
        if text[end - 1] == _BACKSLASH and _may_be_escaped(text[max(start, end - _LONG_RUN) : end]):
            break
        outside.append(text[at:start])
        at = end + 1
    return _has_more_values(text[at:], MAX_VALUES - _beginnings(b"".join(outside)))


def _may_be_escaped(before: bytes) -> bool:
    """Return whether the character behind these is escaped, True where they are too few to tell."""
    backslashes = len(before) - len(before.rstrip(b"\\"))
    return backslashes % 2 == 1 or backslashes == _LONG_RUN


def _beginnings(text: bytes) -> int:
    return len(text) - len(text.translate(None, b",[{"))


def _has_more_values(text: bytes, most: int) -> bool:
    r"""Return whether there are more of `,`, `[` and `{` outside of strings, or too many strings.

    Four characters are left: `a` for a quote, `n` for what begins a value, a backslash and `b` for the rest.  Python's
    decoder of its own escapes, among which are `\\`, `\a`, `\n` and `\b`, takes a tenth of what a pattern takes.
    """
    marks = text.translate(_MARKS)
    if marks.count(b"n", 0, _SHORT) <= most and marks.count(b"n") <= most:  # in strings or not
        return False
    if _BACKSLASH in text:
        marks = codecs.escape_decode(marks + b"b")[0]  # no escaped quote is an `a` any more
    pieces = marks.split(b"a", 4 * MAX_VALUES + 1)
    if len(pieces) > 4 * MAX_VALUES + 1:  # two quotes for each name and each value
        return True
    return b"".join(pieces[::2]).count(b"n") > most

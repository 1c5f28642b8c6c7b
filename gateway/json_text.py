"""Parsing of JSON that may contain bytes that are not UTF-8, or halves of surrogate pairs.

Visitors choose the text of URLs, referrers and user agents.  Web servers pass on the bytes of a request as they came
(nginx's `escape=json`, Varnish), and a JavaScript `slice()` can cut an emoji in half.  Such text must not cost the
pageview, so it is replaced with U+FFFD.  Otherwise it is as strict as orjson: no NaN, no trailing data, bounded depth.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from gateway import json_strings, repair
from gateway.json_strings import TooMuch

#: A byte order mark, which RFC 8259 lets parsers ignore: editors and PowerShell write one at the start of a file.
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: Values of one pageview.  Parsing 64 KiB of `[],[],…` takes forty times as long as of a usual pageview.
MAX_VALUES: Final = 1_000
#: A text of this length can't hold enough to matter.
_SHORT: Final = 4_096
#: A text of this length may be cut where nearly all of it is escapes; and how many samples tell, of how many bytes.
_LONG: Final = 16 * 1024
_SAMPLES: Final = 16
_SAMPLE: Final = 256
#: Bytes that each of its strings keeps, and all together.
_LONGEST: Final = 2 * 1024
_TOGETHER: Final = 4 * 1024
#: Strings that are looked for one by one, and then what begins a value, as a part of a string or not.  Nearly always
#: it is all, and the length of what is between them costs nothing.
_FEW_STRINGS: Final = 64
_FEW_BEGINNINGS: Final = 64


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
    if len(text) > _SHORT:
        text = _with_few_escapes(bytes(text))
        if _has_many_values(text):
            raise NotJson(f"has over {MAX_VALUES} values", 0)
    try:
        return Parsed(orjson.loads(text), False)
    except orjson.JSONDecodeError as error:
        position, decoded = error.pos, error.doc
    if not text or not repair.is_broken(decoded, position):
        raise NotJson("is not valid JSON", position)
    try:
        return Parsed(repair.parse(bytes(text), decoded, position), True)
    except TooMuch:
        problem = "has too much that is not UTF-8"
    except repair.NotJson as error:
        problem, position = "is not valid JSON, and part of it is not UTF-8", error.position
    raise NotJson(problem, position)


def _with_few_escapes(text: bytes) -> bytes:
    """Return a text, with its long strings cut where nearly all of it is escapes; raises `NotJson`.

    Some of them in turns take a parser, by the processor's luck, five times as long as others.
    """
    if len(text) <= _LONG or not _is_nearly_all_escapes(text):
        return text
    try:
        return json_strings.shorten(text, _LONGEST, _TOGETHER)
    except TooMuch:
        pass
    raise NotJson(f"has over {json_strings.MOST_STRINGS} strings, and too many escapes", 0)


def _is_nearly_all_escapes(text: bytes) -> bool:
    """Return whether a text is, by samples: to count all backslashes takes twice as long as the median pageview."""
    step = len(text) // _SAMPLES
    backslashes = sum(text.count(b"\\", at, at + _SAMPLE) for at in range(step, len(text) - _SAMPLE, step))
    return backslashes * 8 > _SAMPLES * _SAMPLE * 3


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
        if json_strings.is_escaped(text, start + 1, end) is not False:
            break
        outside.append(text[at:start])
        at = end + 1
    most = MAX_VALUES - _beginnings(b"".join(outside))
    if most >= 3 * _FEW_BEGINNINGS and all(_has_few(text, at, each) for each in (b",", b"[", b"{")):
        return False
    # The beginning, where it is short, is looked at again: without it, the rest would be a copy.
    return _has_more_values(text, MAX_VALUES) if at < _SHORT else _has_more_values(text[at:], most)


def _has_few(text: bytes, at: int, beginning: bytes) -> bool:
    for _ in range(_FEW_BEGINNINGS):
        at = text.find(beginning, at) + 1
        if not at:
            return True
    return False


def _beginnings(text: bytes) -> int:
    return len(text) - len(text.translate(None, b",[{"))


def _has_more_values(text: bytes, most: int) -> bool:
    """Return whether there are more of `,`, `[` and `{` outside of strings, or too many strings."""
    marks = json_strings.marks(text)
    if marks.count(b"n", 0, _SHORT) <= most and marks.count(b"n") <= most:  # in strings or not
        return False
    if b"\\" in text:
        marks = json_strings.unescaped(marks)
    at = 0
    for _ in range(_FEW_STRINGS):
        # One after another: the pieces between all quotes would be a copy of the whole.
        start = marks.find(b"a", at)
        most -= marks.count(b"n", at, start if start >= 0 else len(marks))
        at = marks.find(b"a", start + 1) + 1
        if start < 0 or not at:
            return most < 0
    pieces = marks[at:].split(b"a", 4 * MAX_VALUES + 1)
    if len(pieces) > 4 * MAX_VALUES + 1:  # two quotes for each name and each value
        return True
    return b"".join(pieces[::2]).count(b"n") > most

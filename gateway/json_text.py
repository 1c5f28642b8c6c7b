"""Parsing of JSON that may contain bytes that are not UTF-8, or halves of surrogate pairs.

Visitors choose the text of URLs, referrers and user agents.  Web servers pass on the bytes of a request as they came
(nginx's `escape=json`, Varnish), and a JavaScript `slice()` can cut an emoji in half.  Such text must not cost the
pageview, so it is replaced with U+FFFD.  Otherwise it is as strict as orjson: no NaN, no trailing data, bounded depth.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from gateway import json_strings, long_text, repair
from gateway.long_text import MAX_VALUES

#: A byte order mark, which RFC 8259 lets parsers ignore: editors and PowerShell write one at the start of a file.
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: A text of this length can't hold enough values to matter.
_SHORT: Final = 4_096


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
    repaired = False
    if len(text) > _SHORT:
        text, repaired = _bounded(bytes(text))
    try:
        return Parsed(orjson.loads(text), repaired)
    except orjson.JSONDecodeError as error:
        position, decoded = error.pos, error.doc
    if not text or not repair.is_broken(decoded, position):
        raise NotJson("is not valid JSON", position)
    try:
        return Parsed(repair.parse(bytes(text), decoded, position), True)
    except json_strings.TooMuch:
        problem = "has too much that is not UTF-8"
    except repair.NotJson as error:
        problem, position = "is not valid JSON, and part of it is not UTF-8", error.position
    raise NotJson(problem, position)


def _bounded(text: bytes) -> tuple[bytes, bool]:
    """Return a text without what would take long to parse, and whether some of it was no Unicode; raises `NotJson`."""
    if len(text) <= long_text.SHORT:
        if not json_strings.has_many_outside(text, long_text.BEGINNINGS, MAX_VALUES):
            return text, False
        problem = f"has over {MAX_VALUES} values"
    else:
        try:
            return long_text.shortened(text)
        except json_strings.TooMuch as error:
            problem = f"has {error}"
    raise NotJson(problem, 0)

"""The items of a batch: where each begins and ends in the body, found without parsing them.

A body is a JSON array, NDJSON, or JSON objects one behind another.  Only the structure is scanned, so that an error
within one item affects no other, and so that a batch takes little more memory than its body: items are parsed one by
one when they are validated.
"""

from __future__ import annotations

import asyncio
import re
from array import array
from collections.abc import Iterator
from typing import Final

from gateway import json_text
from gateway.replies import Reason, Rejected
from gateway.validate import MAX_BODY_BYTES

#: Of a batch, before and after decompression: log shippers cut their batches by bytes (Vector at 10 MB).
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
MAX_ITEMS: Final = 50_000

#: Items, and bytes, that are searched before other requests get a turn: a few milliseconds.
_SLICE: Final = 1_000
_SLICE_BYTES: Final = 256 * 1024
#: Steps in the search for the end of one item: brackets of values that are nested deeper than `_RUN` looks.
_MAX_STEPS: Final = 16_384
#: What a step costs, in bytes of a batch.
_STEP_BYTES: Final = 512
#: Bytes that are matched as one value or token, during which no other request runs.
_MAX_AT_ONCE: Final = 4 * MAX_BODY_BYTES

#: What may stand between values: white space, and the byte order marks of files that were joined.
_SPACE: Final = re.compile(rb"[ \t\r\n]*+(?:\xef\xbb\xbf[ \t\r\n]*+)*+")
_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'


def _nested(depth: int) -> bytes:
    """Return the pattern of any text whose brackets are closed and nested at most so often, in one go.

    All quantifiers are possessive, so that none ever backtracks.
    """
    inner = rb"|\{" + _nested(depth - 1) + rb"\}|\[" + _nested(depth - 1) + rb"\]" if depth else b""
    return rb'(?:[^"{}\[\]]++|' + _STRING + inner + rb")*+"


_OBJECT: Final = re.compile(rb"\{" + _nested(1) + rb"\}", re.DOTALL)
#: Whatever is closed in itself, as far as it goes, and the brackets that open or close what is not.
_RUN: Final = re.compile(_nested(4) + rb"([{\[]++|[}\]]++)", re.DOTALL)
_SCALAR: Final = re.compile(_STRING + rb'|[^"{}\[\], \t\r\n]++', re.DOTALL)
#: White space between tokens, or a token.
_COMPACT: Final = re.compile(_STRING + rb'|[^" \t\r\n]++', re.DOTALL)
#: Objects one behind another on a line.  It may also be within a string: then the line is scanned for nothing.
_JOINED: Final = re.compile(rb"\}[ \t\r]*+(?:\xef\xbb\xbf)?+\{")
_CLOSING: Final = bytes.maketrans(b"{[", b"}]")


class _Broken(ValueError):
    """The structure does not show where an item ends."""


class Items:
    """A batch's items: `len()` of them, each parsed by `parse`."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._body = memoryview(body)
        self._bounds = array("I")
        #: What the search for the ends of items has cost beyond its usual cost, in bytes of a batch.
        self.effort = 0

    def __len__(self) -> int:
        return len(self._bounds) // 2

    def add(self, start: int, end: int) -> None:
        """Add the item at these bytes; raises `Rejected` (413) beyond the largest number."""
        if len(self) == MAX_ITEMS:
            raise Rejected(Reason.TOO_LARGE, f"body: is over the limit of {MAX_ITEMS} pageviews")
        self._bounds.extend((start, end))

    def end(self, index: int) -> int:
        """Return where an item ends, in bytes of the body."""
        return self._bounds[2 * index + 1]

    def parse(self, index: int) -> json_text.Parsed:
        """Return an item's JSON value; raises `Rejected` (400, 413)."""
        text = self._body[self._bounds[2 * index] : self._bounds[2 * index + 1]]
        if len(text) > MAX_BODY_BYTES and _is_large(text):
            raise Rejected(Reason.TOO_LARGE, f"item: is over the limit of {MAX_BODY_BYTES} bytes")
        try:
            return json_text.parse(text)
        except json_text.NotJson as error:
            problem = f"item: {error}"
        raise Rejected(Reason.INVALID, problem)


async def split(body: bytes | bytearray) -> Items:
    """Find a batch's items; raises `Rejected` (400, 413) for the whole batch.

    A body that starts with `[` is an array, whose structure must be right as a whole.  Otherwise each line that is not
    empty is an item, or several objects one behind another; if the first object spans several lines, line breaks
    separate nothing.  A body of white space only is not a batch; an empty one is an empty body or `[]`.
    """
    items = Items(body)
    start = _skip_space(body, 0)
    if start == len(body):
        if body:
            raise Rejected(Reason.INVALID, "body: is neither NDJSON nor a JSON array")
        return items
    if body.startswith(b"[", start):
        found = _array(items, body, start)
    elif _spans_lines(items, body, start):
        found = _objects(items, body, start, len(body))
    else:
        found = _lines(items, body, start)
    next_pause = _SLICE_BYTES
    try:
        for number, (first, end) in enumerate(found):
            items.add(first, end)
            if number % _SLICE == _SLICE - 1 or end + items.effort >= next_pause:
                next_pause = end + items.effort + _SLICE_BYTES
                await asyncio.sleep(0)
    except _Broken:
        raise Rejected(Reason.INVALID, f"body: is not a valid JSON array (after {len(items)} items)") from None
    return items


def _lines(items: Items, body: bytes | bytearray, at: int) -> Iterator[tuple[int, int]]:
    joined = _JOINED.search(body, at) is not None
    while at < len(body):
        end = body.find(b"\n", at)
        end = len(body) if end < 0 else end
        start = _skip_space(body, at, end)
        if start < end:
            if joined and _JOINED.search(body, start, end):
                yield from _objects(items, body, start, end)
            else:
                yield start, end
        at = end + 1


def _objects(items: Items, body: bytes | bytearray, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Find objects one behind another; from where that goes wrong, the rest is one item."""
    while at < end:
        try:
            value_end = _end_of_value(items, body, at, end) if body.startswith(b"{", at) else end
        except _Broken:
            value_end = end
        yield at, value_end
        at = _skip_space(body, value_end, end)


def _spans_lines(items: Items, body: bytes | bytearray, start: int) -> bool:
    """Return whether the body is objects of several lines each, such as `jq` prints: the first line is not a value."""
    line_end = body.find(b"\n", start)
    if line_end < 0 or not body.startswith(b"{", start) or _OBJECT.match(body, start, line_end):
        return False
    try:
        # Not beyond the largest item: a broken first line must not make one item of all lines.
        end = _end_of_value(items, body, start, min(len(body), start + MAX_BODY_BYTES))
        json_text.parse(memoryview(body)[start:end])
    except (_Broken, json_text.NotJson):
        return False
    return end > line_end


def _array(items: Items, body: bytes | bytearray, start: int) -> Iterator[tuple[int, int]]:
    at = _skip_space(body, start + 1)
    if not body.startswith(b"]", at):
        while True:
            end = _end_of_value(items, body, at, len(body))
            yield at, end
            at = _skip_space(body, end)
            if body.startswith(b"]", at):
                break
            if not body.startswith(b",", at):
                raise _Broken
            at = _skip_space(body, at + 1)
    if _skip_space(body, at + 1) != len(body):
        raise _Broken


def _end_of_value(items: Items, body: bytes | bytearray, start: int, end: int) -> int:
    """Return where the JSON value at `start` ends, by its structure alone; raises `_Broken`."""
    if found := _OBJECT.match(body, start, min(end, start + _MAX_AT_ONCE)):
        return found.end()
    if not body.startswith((b"{", b"["), start):
        if scalar := _SCALAR.match(body, start, min(end, start + _MAX_AT_ONCE)):
            return scalar.end()
        raise _too_large() if end - start > _MAX_AT_ONCE else _Broken
    return _end_of_nested(items, body, start, end)


def _end_of_nested(items: Items, body: bytes | bytearray, start: int, end: int) -> int:
    expected = bytearray(body[start : start + 1].translate(_CLOSING))
    at = start + 1
    for _ in range(_MAX_STEPS):
        items.effort += _STEP_BYTES
        run = _RUN.match(body, at, min(end, at + _MAX_AT_ONCE))
        if run is None:
            raise _too_large() if end - at > _MAX_AT_ONCE else _Broken
        at, brackets = run.end(), run[1]
        if brackets[0] in b"{[":
            expected += brackets.translate(_CLOSING)
            continue
        closed = min(len(brackets), len(expected))
        if expected[-closed:][::-1] != brackets[:closed]:
            raise _Broken
        del expected[-closed:]
        if not expected:
            return at - len(brackets) + closed
    raise _too_large()


def _too_large() -> Rejected:
    return Rejected(Reason.TOO_LARGE, f"item: is over the limit of {MAX_BODY_BYTES} bytes, or nested too deeply")


def _skip_space(body: bytes | bytearray, at: int, end: int | None = None) -> int:
    found = _SPACE.match(body, at, len(body) if end is None else end)
    return found.end() if found else at


def _is_large(text: memoryview) -> bool:
    """Return whether an item is over the limit even without white space between its tokens."""
    size = 0
    for token in _COMPACT.finditer(text):
        size += token.end() - token.start()
        if size > MAX_BODY_BYTES:
            return True
    return False

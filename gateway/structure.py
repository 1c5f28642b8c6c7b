"""Where the items of a batch begin and end, by brackets, strings and white space alone.

Whatever a body holds, no step takes longer than some milliseconds: texts are matched by windows, and between two of
them the search yields None, so that other requests get a turn.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final

from gateway import json_text
from gateway.replies import Reason, Rejected
from gateway.validate import MAX_BODY_BYTES

#: The largest item with the white space between its tokens.
MAX_ITEM_BYTES: Final = 4 * MAX_BODY_BYTES
#: What one step looks at, but for strings, and lines up to twice as long.
_WINDOW: Final = MAX_BODY_BYTES
_LONG_LINE: Final = 2 * _WINDOW
#: White space that may go on behind the window; its last bytes may be a part of a byte order mark.
_CUT_SPACE: Final = _WINDOW - 3
#: Steps in the search for the end of one item: brackets of values that are nested deeper than `_RUN` looks.
_MAX_STEPS: Final = 16_384
#: Of those between two chances to pause.
_STEPS_AT_ONCE: Final = 32
_LONG_STEP: Final = 4096
#: What such a step costs, in bytes of a batch.
_STEP_BYTES: Final = 512

#: What may stand between values: white space, and the byte order marks of files that were joined.
_SPACE: Final = re.compile(rb"[ \t\r\n]*+(?:\xef\xbb\xbf[ \t\r\n]*+|)*+")
#: Groups repeated possessively end in an empty alternative: before Python 3.11.5 one that fails in the middle moves the
#: match (CPython's gh-106052), and Debian 12 has 3.11.2.
_STRING: Final = rb'"(?:[^"\\]++|\\.|)*+"'


def _nested(depth: int) -> bytes:
    """Return the pattern of any text whose brackets are closed and nested at most so often, in one go.

    All quantifiers are possessive, so that none ever backtracks.
    """
    inner = rb"|\{" + _nested(depth - 1) + rb"\}|\[" + _nested(depth - 1) + rb"\]" if depth else b""
    return rb'(?:[^"{}\[\]]++|' + _STRING + inner + rb"|)*+"


_OBJECT: Final = re.compile(rb"\{" + _nested(1) + rb"\}", re.DOTALL)
#: Whatever is closed in itself, as far as it goes, and the brackets behind it that open or close what is not.
_RUN: Final = re.compile(_nested(4) + rb"([{\[]++|[}\]]++)?", re.DOTALL)
_IN_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.|)*+', re.DOTALL)
_SCALAR: Final = re.compile(_STRING + rb'|[^"{}\[\], \t\r\n]++', re.DOTALL)
#: Objects one behind another on a line.  It may also be within a string: then the line is scanned for nothing.
_JOINED: Final = re.compile(rb"\}[ \t\r]*+(?:\xef\xbb\xbf)?\{")
_CLOSING: Final = bytes.maketrans(b"{[", b"}]")

#: Yields an item's first byte and the one behind it, or None where other requests may get a turn.
Found = Generator[tuple[int, int] | None, None, None]
_Sought = Generator[None, None, int]


class Broken(ValueError):
    """The structure does not show where an item ends."""


class Structure:
    """The search for a body's items."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._body = body
        #: What the search has cost beyond its usual cost, in bytes of a batch.
        self.effort = 0

    def items(self) -> Found:
        """Find the items, as `items.split` describes them; raises `Broken`, or `Rejected` (400, 413)."""
        body = self._body
        start = yield from self._space(0)
        if start == len(body):
            if body:
                raise Rejected(Reason.INVALID, "body: is neither NDJSON nor a JSON array")
            return
        if body.startswith(b"[", start):
            found = self._array(start)
        elif (yield from self._spans_lines(start)):
            found = self._objects(start, len(body))
        else:
            found = self._lines(start)
        yield from found

    def _lines(self, at: int) -> Found:
        body = self._body
        while at < len(body):
            # As many lines as fit into a window: of all of them, one search tells whether objects are joined.
            end = body.find(b"\n", at + _WINDOW)
            end = len(body) if end < 0 else end
            joined = end - at > _LONG_LINE or _JOINED.search(body, at, end) is not None
            while at < end:
                start = _skip_space(body, at)
                if start - at > _CUT_SPACE:
                    at = start
                    yield None
                    continue
                at = body.find(b"\n", start, end) if start < end else start
                if at < 0:
                    at = end
                if joined and at - start > _LONG_LINE:
                    yield from self._objects(start, at, known=False)
                elif joined and _JOINED.search(body, start, at):
                    yield from self._objects(start, at)
                elif start < at:
                    yield start, at
            yield None

    def _objects(self, start: int, end: int, *, known: bool = True) -> Found:
        """Find objects one behind another; from where that goes wrong, the rest is one item.

        If it is not `known` that some are, all is one item unless one stands behind the first.
        """
        body = self._body
        at = start
        while at < end:
            value_end = end
            try:
                if body.startswith(b"{", at):
                    value_end = self._end_of_plain(at, end) or (yield from self._end_of_nested(at, end))
            except Broken:
                value_end = end
            except Rejected:
                if at > start:  # what follows may be good
                    raise
            if not known and at == start:
                after = yield from self._space(value_end)
                value_end = value_end if after >= end or body.startswith(b"{", after) else end
            yield at, value_end
            at = value_end if body.startswith(b"{", value_end) else (yield from self._space(value_end))

    def _spans_lines(self, start: int) -> _Sought:
        """Return whether the body is objects of several lines each, such as `jq` prints: the first line is no value."""
        body = self._body
        # Not beyond the largest item: a broken first line must not make one item of all lines.
        most = min(len(body), start + MAX_BODY_BYTES)
        line_end = body.find(b"\n", start, most)
        if line_end < 0 or not body.startswith(b"{", start) or _OBJECT.match(body, start, line_end):
            return False
        try:
            end = self._end_of_plain(start, most) or (yield from self._end_of_nested(start, most))
            json_text.parse(memoryview(body)[start:end])
        except (Broken, json_text.NotJson):
            return False
        return end > line_end

    def _array(self, start: int) -> Found:
        body = self._body
        at = yield from self._space(start + 1)
        if not body.startswith(b"]", at):
            while True:
                end = self._end_of_plain(at, len(body)) or (yield from self._end_of_nested(at, len(body)))
                yield at, end
                at = end if body.startswith((b",", b"]"), end) else (yield from self._space(end))
                if body.startswith(b"]", at):
                    break
                if not body.startswith(b",", at):
                    raise Broken
                at = at + 1 if body.startswith(b"{", at + 1) else (yield from self._space(at + 1))
        if (yield from self._space(at + 1)) != len(body):
            raise Broken

    def _space(self, at: int) -> _Sought:
        """Return where the white space at `at` ends, however long it is."""
        after = _skip_space(self._body, at)
        while after - at > _CUT_SPACE:
            yield None
            at, after = after, _skip_space(self._body, after)
        return after

    def _end_of_plain(self, start: int, end: int) -> int:
        """Return where a scalar, or an object nested no deeper than usual, ends; 0 for others.  Raises `Broken`."""
        body = self._body
        if found := _OBJECT.match(body, start, min(end, start + _WINDOW)):
            return found.end()
        if body.startswith((b"{", b"["), start):
            return 0
        if found := _SCALAR.match(body, start, min(end, start + MAX_ITEM_BYTES)):
            return found.end()
        if body.startswith(b'"', start):
            return 0
        raise Broken

    def _end_of_nested(self, start: int, end: int) -> _Sought:
        """Return where any other value ends; raises `Broken`, or `Rejected` (413)."""
        body = self._body
        if body.startswith(b'"', start):
            return (yield from self._end_of_string(start, end))
        expected = bytearray(body[start : start + 1].translate(_CLOSING))
        at = start + 1
        for step in range(1, _MAX_STEPS + 1):
            self.effort += _STEP_BYTES
            run = _RUN.match(body, at, min(end, at + _WINDOW))
            if run is None:  # it matches anything
                raise Broken
            before, at, brackets = at, run.end(), run[1]
            if step % _STEPS_AT_ONCE == 0 or at - before > _LONG_STEP or not brackets:
                yield None
            if not brackets:
                at = at if at > before else (yield from self._end_of_string(at, end))
            elif brackets[0] in b"{[":
                expected += brackets.translate(_CLOSING)
            else:
                closed = min(len(brackets), len(expected))
                if expected[-closed:][::-1] != brackets[:closed]:
                    raise Broken
                del expected[-closed:]
                if not expected:
                    return at - len(brackets) + closed
        raise _too_large()

    def _end_of_string(self, at: int, end: int) -> _Sought:
        """Return where a string ends that goes on behind a window; raises `Broken`."""
        body = self._body
        before, at = at, at + 1
        while before < at < end:
            found = _IN_STRING.match(body, at, min(end, at + _WINDOW))
            before, at = at, found.end() if found else at
            if at < end and body.startswith(b'"', at):
                return at + 1
            yield None
        raise Broken


def _too_large() -> Rejected:
    return Rejected(Reason.TOO_LARGE, f"item: is over the limit of {MAX_BODY_BYTES} bytes, or nested too deeply")


def _skip_space(body: bytes | bytearray, at: int) -> int:
    """Return where the white space at `at` ends, or a window of it."""
    found = _SPACE.match(body, at, at + _WINDOW)
    return found.end() if found else at

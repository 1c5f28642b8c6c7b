"""A batch's body as single JSON values: NDJSON or one JSON array."""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.replies import Reason, Rejected
from gateway.validate import parse_json

MAX_ITEMS: Final = 1_000
#: Decompressed.
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024


class BrokenItem:
    """A line that is no JSON: an error of its own item and of no other."""

    def __init__(self, rejected: Rejected) -> None:
        self.rejected = rejected


def split(body: bytes) -> list[Any]:
    """Return a batch's items, each a JSON value or a `BrokenItem`; raises `Rejected` (400, 413) for the whole.

    A body that begins with `[` is a JSON array, which is well-formed or not as a whole; else every line that is not
    empty is an item.  A body of nothing but white space is neither: who has nothing to send sends nothing, or `[]`.
    """
    start = body.lstrip(b" \t\r\n")
    if body and not start:
        raise Rejected(Reason.INVALID, "body: is neither NDJSON nor a JSON array")
    if start.startswith(b"["):
        items = parse_json(body)
    else:
        lines = [line for line in start.split(b"\n") if line.strip()]
        _check_number(len(lines))
        items = [_parse_line(line) for line in lines]
    _check_number(len(items))
    return list(items)


def _check_number(number: int) -> None:
    if number > MAX_ITEMS:
        raise Rejected(Reason.TOO_LARGE, f"body: has {number} pageviews, over the limit of {MAX_ITEMS}")


def _parse_line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return BrokenItem(Rejected(Reason.INVALID, "line: is not valid JSON"))

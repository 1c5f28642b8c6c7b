"""A batch's body as single JSON values: NDJSON or one JSON array."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from gateway.replies import Reason, Rejected
from gateway.validate import MAX_BODY_BYTES

MAX_ITEMS: Final = 1_000
#: Decompressed.
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024


_JSON_SPACE: Final = " \t\r\n"
#: Numbers are left as text: the longest would take seconds to convert, and are not needed.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str)


class BrokenItem:
    """A line that is no JSON, or an item that is too large: an error of its own and of no other."""

    def __init__(self, rejected: Rejected) -> None:
        self.rejected = rejected


def split(body: bytes) -> list[Any]:
    """Return a batch's items, each a JSON value or a `BrokenItem`; raises `Rejected` (400, 413) for the whole.

    A body that begins with `[` is a JSON array, which is well-formed or not as a whole; else every line that is not
    empty is an item.  A body of nothing but white space is neither (schemathesis sends one as malformed JSON, and wants
    it refused): who has nothing to send sends nothing, or `[]`.
    """
    start = body.lstrip(b" \t\r\n")
    if body and not start:
        raise Rejected(Reason.INVALID, "body: is neither NDJSON nor a JSON array")
    if start.startswith(b"["):
        items = _parse_array(body)
    else:
        lines = [line for line in start.split(b"\n") if line.strip()]
        _check_number(len(lines))
        items = [_parse_line(line) for line in lines]
    _check_number(len(items))
    return list(items)


def _parse_array(body: bytes) -> list[Any]:
    try:
        items: list[Any] = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_elements(body)
    if len(body) <= MAX_BODY_BYTES or len(items) > MAX_ITEMS:
        return items
    return [_too_large() if _is_large(item) else item for item in items]


def _is_large(item: Any) -> bool:
    """Tell whether an element is larger than the single endpoint takes, however compactly it is written."""
    try:
        return len(orjson.dumps(item)) > MAX_BODY_BYTES
    except orjson.JSONEncodeError:  # nested deeper than it writes: what is of use in it is measured later
        return False


def _parse_elements(body: bytes) -> list[Any]:
    """Take an array apart that is not valid as a whole: one visitor's odd referrer must not reject all neighbours.

    The standard library's parser finds where each element ends, since it puts up with what makes an element invalid
    (a lone surrogate, a number beyond all bounds, NaN, bytes that are no UTF-8); each is then judged for itself.
    Raises `Rejected` (400) where the array's own structure is broken.
    """
    text = body.decode("utf-8", "surrogateescape")
    at = text.index("[") + 1
    items: list[Any] = []
    try:
        while True:
            at = _skip_space(text, at)
            if text[at] == "]" and not items:
                break
            _, end = _decoder.raw_decode(text, at)
            items.append(_parse_line(text[at:end].encode("utf-8", "surrogateescape")))
            _check_number(len(items))  # each costs microseconds: millions of them would hold everyone up
            at = _skip_space(text, end)
            if text[at] == "]":
                break
            if text[at] != ",":
                raise ValueError("neither a comma nor the end")
            at += 1
    except (ValueError, IndexError, RecursionError):
        raise _not_json() from None
    if text[at + 1 :].strip(_JSON_SPACE):
        raise _not_json()
    return items


def _skip_space(text: str, at: int) -> int:
    while text[at] in _JSON_SPACE:
        at += 1
    return at


def _not_json() -> Rejected:
    return Rejected(Reason.INVALID, "body: is not a valid JSON array")


def _check_number(number: int) -> None:
    if number > MAX_ITEMS:
        raise Rejected(Reason.TOO_LARGE, f"body: is over the limit of {MAX_ITEMS} pageviews")


def _too_large() -> BrokenItem:
    return BrokenItem(Rejected(Reason.TOO_LARGE, f"item: is over the limit of {MAX_BODY_BYTES} bytes"))


def _parse_line(line: bytes) -> Any:
    if len(line) > MAX_BODY_BYTES and len(line.strip()) > MAX_BODY_BYTES:
        return _too_large()
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return BrokenItem(Rejected(Reason.INVALID, "item: is not valid JSON"))

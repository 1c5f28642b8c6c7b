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
#: Numbers stay text: converting very long ones would take seconds.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str)


class InvalidItem:
    """An item that is not JSON or too large; it affects no other item."""

    def __init__(self, rejected: Rejected) -> None:
        self.rejected = rejected


def split(body: bytes) -> list[Any]:
    """Return a batch's items, each a JSON value or an `InvalidItem`; raises `Rejected` (400, 413) for the whole batch.

    A body that starts with `[` is a JSON array; otherwise every line that is not empty is an item.  A body of white
    space only is neither; an empty batch is an empty body or `[]`.
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
    """Return whether an element is larger than the single endpoint accepts, even in compact form."""
    try:
        return len(orjson.dumps(item)) > MAX_BODY_BYTES
    except orjson.JSONEncodeError:  # nested too deeply to serialise: measured after packing
        return False


def _parse_elements(body: bytes) -> list[Any]:
    """Split an array that is not valid as a whole, so that one invalid element does not reject the others.

    The standard library's parser accepts what makes an element invalid (lone surrogates, huge numbers, NaN, invalid
    UTF-8), and so finds where each element ends; each is then parsed separately.  Raises `Rejected` (400) when the
    array's own structure is broken.
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
            _check_number(len(items))  # each takes microseconds: millions would block other requests
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


def _too_large() -> InvalidItem:
    return InvalidItem(Rejected(Reason.TOO_LARGE, f"item: is over the limit of {MAX_BODY_BYTES} bytes"))


def _parse_line(line: bytes) -> Any:
    if len(line) > MAX_BODY_BYTES and len(line.strip()) > MAX_BODY_BYTES:
        return _too_large()
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return InvalidItem(Rejected(Reason.INVALID, "item: is not valid JSON"))

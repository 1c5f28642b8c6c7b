"""From a body to a checked pageview, with pydantic in strict mode: JSON's own types, nothing converted.

The JSON itself is parsed by orjson, which is strict where it matters: no NaN, no lone surrogates, no trailing data, a
bounded depth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from gateway import fields
from gateway.replies import Reason, Rejected

MAX_BODY_BYTES: Final = 64 * 1024

Parsed = TypeVar("Parsed")


def _text(parse: Callable[[str], Parsed]) -> PlainValidator:
    """Make a pydantic validator of a rule for strings."""

    def check(value: object) -> Parsed:
        if type(value) is not str:
            raise ValueError("must be a string")
        return parse(value)

    return PlainValidator(check)


Uuid = Annotated[bytes | None, _text(fields.parse_uuid)]


def _integral(value: object) -> object:
    """JSON has no integers of its own: 1920.0 and 1.92e3 are 1920 (JSON Schema 2020-12, 6.1.1)."""
    return int(value) if type(value) is float and value.is_integer() else value


Pixels = Annotated[int, BeforeValidator(_integral), Field(ge=0, le=65535)]


class PageviewRequest(BaseModel):
    """The body of a request, or one item of a batch; unknown fields are ignored, null is absent."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    url: Annotated[fields.Url, _text(fields.parse_url)]
    timestamp: Annotated[int, _text(fields.parse_timestamp)]
    visitor_ip: Annotated[str, _text(fields.parse_address)]
    user_agent: Annotated[str, _text(fields.parse_user_agent)]
    dnt: bool | None = None
    session_id: Uuid | None = None
    page_id: Uuid | None = None
    referrer: str | None = None
    language: str | None = None
    screen_width: Pixels | None = None
    screen_height: Pixels | None = None
    viewport_width: Pixels | None = None
    viewport_height: Pixels | None = None


#: pydantic's kinds of error in our words; `value_error` carries those of fields.py.
_RULES: Final = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "int_type": "must be an integer",
    "bool_type": "must be true or false",
    "greater_than_equal": "must be from 0 to 65535",
    "less_than_equal": "must be from 0 to 65535",
}
_validate = PageviewRequest.__pydantic_validator__.validate_python


def parse_json(body: bytes) -> Any:
    """Return the body's JSON value; raises `Rejected` (400) where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(Reason.INVALID, f"body: is not valid JSON (at character {error.pos})") from None


def validate(value: Any, now_ms: int) -> PageviewRequest:
    """Check a parsed JSON value; raises `Rejected` (400) that names each wrong field and its rule."""
    if type(value) is not dict:
        raise Rejected(Reason.INVALID, "body: must be a JSON object")
    try:
        pageview: PageviewRequest = _validate(value)
        fields.check_period(pageview.timestamp, now_ms)
    except ValidationError as error:
        raise Rejected(Reason.INVALID, _explain(error)) from None
    except ValueError as error:
        raise Rejected(Reason.INVALID, f"timestamp: {error}") from None
    return pageview


def _explain(error: ValidationError) -> str:
    problems = []
    for found in error.errors(include_input=False, include_url=False, include_context=False):
        name, kind = found["loc"][0], found["type"]
        rule = found["msg"].removeprefix("Value error, ") if kind == "value_error" else _RULES.get(kind, "is not valid")
        problems.append(f"{name}: {rule}")
    return "; ".join(dict.fromkeys(problems))

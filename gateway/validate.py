"""From a body to a validated pageview, with pydantic in strict mode: JSON's own types, nothing converted.

The JSON itself is parsed by orjson, which is strict: no NaN, no lone surrogates, no trailing data, bounded depth.
Each type carries its own JSON Schema, from which `openapi.py` describes the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema

from gateway import fields
from gateway.replies import Reason, Rejected

MAX_BODY_BYTES: Final = 64 * 1024
MAX_PIXELS: Final = 65535

Parsed = TypeVar("Parsed")


def _text(parse: Callable[[str], Parsed]) -> PlainValidator:
    """Return a pydantic validator for strings that applies `parse`."""

    def check(value: object) -> Parsed:
        if type(value) is not str:
            raise ValueError("must be a string")
        return parse(value)

    return PlainValidator(check)


def _integral(value: object) -> object:
    """JSON has no separate integer type: 1920.0 and 1.92e3 are 1920 (JSON Schema 2020-12, 6.1.1)."""
    return int(value) if type(value) is float and value.is_integer() else value


Url = Annotated[
    fields.Url,
    _text(fields.parse_url),
    WithJsonSchema(
        {
            "type": "string",
            "format": "uri",
            "description": "Absolute http or https URL; its hostname selects the site. Trimmed.",
            "examples": ["https://example.com/pricing?utm_source=newsletter"],
        }
    ),
]
Timestamp = Annotated[
    int,
    _text(fields.parse_timestamp),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with a zone, from 1990 to 24 hours ahead; stored to the millisecond. Trimmed.",
        }
    ),
]
Address = Annotated[
    str,
    _text(fields.parse_address),
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}],
            "description": "Used for exclusions, spam filtering, country, region, city, provider and ASN; never "
            "stored. Without port, prefix or zone; an IPv4-mapped IPv6 address counts as IPv4. Trimmed.",
        }
    ),
]
UserAgent = Annotated[
    str,
    _text(fields.parse_user_agent),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "not": {"pattern": r"^\s*$"},
            "description": "Not empty once trimmed.",
        }
    ),
]
Uuid = Annotated[
    bytes | None,
    _text(fields.parse_uuid),
    WithJsonSchema(
        {
            "type": "string",
            # Not `format: uuid`, which some tools take to exclude versions newer than RFC 4122.
            "pattern": f"^{fields.UUID_PATTERN}$",
            "description": "Any version; generated when absent, null or nil.",
        }
    ),
]
Pixels = Annotated[
    int,
    BeforeValidator(_integral),
    Field(ge=0, le=MAX_PIXELS),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_PIXELS}),
]


class PageviewRequest(BaseModel):
    """The body of a request, or one item of a batch; unknown fields are ignored, null means absent."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    url: Url
    timestamp: Timestamp
    visitor_ip: Address
    user_agent: UserAgent
    dnt: Annotated[bool | None, Field(description="true: accepted and counted, but not stored.")] = None
    session_id: Annotated[Uuid | None, Field(description="A missing one is derived from page_id, if given.")] = None
    page_id: Uuid | None = None
    referrer: str | None = None
    language: str | None = None
    screen_width: Pixels | None = None
    screen_height: Pixels | None = None
    viewport_width: Pixels | None = None
    viewport_height: Pixels | None = None


#: Messages for pydantic's types of errors; those of `value_error` come from fields.py.
_RULES: Final = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "int_type": "must be an integer",
    "bool_type": "must be true or false",
    "greater_than_equal": f"must be from 0 to {MAX_PIXELS}",
    "less_than_equal": f"must be from 0 to {MAX_PIXELS}",
}
_validate = PageviewRequest.__pydantic_validator__.validate_python


def parse_json(body: bytes) -> Any:
    """Return the body's JSON value; raises `Rejected` (400) when it is not valid JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(Reason.INVALID, f"body: is not valid JSON (at character {error.pos})") from None


def validate(value: Any, now_ms: int) -> PageviewRequest:
    """Validate a parsed JSON value; raises `Rejected` (400) naming each wrong field and its rule."""
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

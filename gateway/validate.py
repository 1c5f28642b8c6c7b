"""From a body to a validated pageview, with pydantic in strict mode: JSON's own types, nothing converted.

Each type carries its own JSON Schema, from which `openapi.py` describes the fields.  What a pageview can do without
never costs it: see `_pixels` and `json_text.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)

from gateway import fields, json_text, url
from gateway.repair import REPLACEMENT
from gateway.replies import Reason, Rejected
from shared import metrics

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


def _pixels(value: object, info: ValidationInfo) -> int:
    """Return a size in whole pixels, 0 (unknown) when it is out of range; counts what it changes.

    Browsers report fractions when zoomed, and some report negative sizes.
    """
    if type(value) is float:
        size = round(value)
        if size != value:
            metrics.ALTERED.labels(info.field_name, "rounded").inc()
    elif type(value) is int:
        size = value
    else:
        raise ValueError("must be a number")
    if 0 <= size <= MAX_PIXELS:
        return size
    metrics.ALTERED.labels(info.field_name, "out_of_range").inc()
    return 0


Url = Annotated[
    url.Url,
    _text(url.parse_url),
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
            "description": "RFC 3339 with a zone, from 1990 to 24 hours ahead; stored to the millisecond. A space for "
            "the T, a comma before the fraction and +0100 for +01:00 are accepted too. Trimmed.",
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
            "stored. Without port or prefix; the zone of an IPv6 address (%eth0) is ignored, an IPv4-mapped one counts "
            "as IPv4. Trimmed.",
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
            "description": "Not empty once trimmed; - if the visitor sent none.",
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
            "pattern": f"^(?:{fields.UUID_PATTERN})?$",
            "description": "Any version, with or without hyphens, also in braces or after urn:uuid:. Generated when "
            "absent, null, nil or empty.",
        }
    ),
]
Text = Annotated[str, Field(description="- counts as absent.")]
Pixels = Annotated[
    int,
    PlainValidator(_pixels),
    WithJsonSchema(
        {
            "type": "number",
            "description": f"Fractions are rounded; stored as 0 (unknown) when not from 0 to {MAX_PIXELS}.",
        }
    ),
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
    referrer: Text | None = None
    language: Text | None = None
    screen_width: Pixels | None = None
    screen_height: Pixels | None = None
    viewport_width: Pixels | None = None
    viewport_height: Pixels | None = None


#: Messages for pydantic's types of errors; those of `value_error` come from fields.py.
_RULES: Final = {
    "missing": "is required",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
}
#: Fields whose text a visitor chooses: U+FFFD in it is stored.
_VISITORS_TEXT: Final = ("url", "user_agent", "referrer", "language")
_validate = PageviewRequest.__pydantic_validator__.validate_python


def parse_json(body: bytes | bytearray) -> json_text.Parsed:
    """Return the body's JSON value; raises `Rejected` (400) when it is not valid JSON."""
    try:
        return json_text.parse(bytes(body))
    except json_text.NotJson as error:
        problem = f"body: {error} (at character {error.position})"
    raise Rejected(Reason.INVALID, problem)


def validate(value: Any, now_ms: int, *, repaired: bool = False) -> PageviewRequest:
    """Validate a parsed JSON value; raises `Rejected` (400) naming each wrong field and its rule.

    `repaired`: some of its text was not UTF-8 and is U+FFFD now; it is counted, or named where a field needs it.
    """
    if type(value) is not dict:
        raise Rejected(Reason.INVALID, "body: must be a JSON object")
    try:
        pageview: PageviewRequest = _validate(value)
        fields.check_period(pageview.timestamp, now_ms)
    except ValidationError as error:
        problem = _explain(error, value if repaired else {})
    except ValueError as error:
        problem = f"timestamp: {error}"
    else:
        if repaired:
            _count_replaced(value)
        return pageview
    # Outside of the handlers: it must not refer to pydantic's error, which keeps the whole request in memory.
    raise Rejected(Reason.INVALID, problem)


def _explain(error: ValidationError, repaired: dict[str, Any]) -> str:
    problems = []
    for found in error.errors(include_input=False, include_url=False, include_context=False):
        name, kind = found["loc"][0], found["type"]
        rule = found["msg"].removeprefix("Value error, ") if kind == "value_error" else _RULES.get(kind, "is not valid")
        if REPLACEMENT in str(repaired.get(str(name), "")):
            rule = "is not UTF-8"
        problems.append(f"{name}: {rule}")
    return "; ".join(dict.fromkeys(problems))


def _count_replaced(value: dict[str, Any]) -> None:
    for name in _VISITORS_TEXT:
        if REPLACEMENT in (value.get(name) or ""):
            metrics.ALTERED.labels(name, "not_utf8").inc()

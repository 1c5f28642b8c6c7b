"""The gateway's OpenAPI 3.1 description, served at `/api/openapi.json`.

Fields come from `validate.PageviewRequest`, statuses and messages from `replies.Reason`, limits from where they are
enforced, so that the description can't differ from what the gateway does.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway.intake import KEY_PATTERN
from gateway.items import MAX_BATCH_BYTES, MAX_ITEMS
from gateway.replies import ITEM_REASONS, Reason
from gateway.results import MAX_RESPONSE_BYTES
from gateway.validate import MAX_BODY_BYTES, PageviewRequest

Schema = dict[str, Any]

_ABOUT: Final = """\
Accepts pageviews from trusted servers. 202 means that a majority of the queue's replicas has the pageview on disk.

Speaks HitKeep's server-side pageview contract and extends it: a body over the limit is 413, times are bounded (1990 \
to 24 hours ahead), rate limits apply to API clients rather than addresses, 429 and 503 carry Retry-After, many \
pageviews may be posted at once, and a request may carry an Idempotency-Key.

A pageview's identity is (site, timestamp to the millisecond, session_id, page_id): repeating a request with the same \
ids, or with the same Idempotency-Key, stores nothing twice."""

_HEADERS: Final = "The Content-Type is ignored; the Content-Encoding may be gzip, deflate or zstd."
#: Answers of unknown paths and methods, not of the endpoints that are described here.
_ELSEWHERE: Final = (Reason.NOT_FOUND, Reason.WRONG_METHOD)


def _pageview() -> Schema:
    """Return the schema of `PageviewRequest`, without pydantic's titles and defaults; null means absent."""
    schema = PageviewRequest.model_json_schema()
    properties = {name: _field(described) for name, described in schema["properties"].items()}
    return {
        "type": "object",
        "required": schema["required"],
        "description": "Unknown fields are ignored. UTM values and hk_qr are read from the URL's query only.",
        "properties": properties,
    }


def _field(described: Schema) -> Schema:
    about = described.get("description")
    if "default" in described:  # optional
        kind = next(each for each in described["anyOf"] if each["type"] != "null")
        about = " ".join(text for text in (kind.get("description"), about) if text)
        described = {**kind, "type": [kind["type"], "null"]}
    field = {name: value for name, value in described.items() if name not in ("title", "description")}
    return {**field, "description": about} if about else field


_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["message"],
    "properties": {"message": {"type": "string", "description": "Names the field and the rule, never quotes a value."}},
}
_STATUS: Final[Schema] = {"type": "integer", "enum": sorted({reason.status for reason in ITEM_REASONS})}
_COUNTS: Final[Schema] = {
    "accepted": {"type": "integer", "minimum": 0},
    "rejected": {"type": "integer", "minimum": 0},
    "errors": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["index", "status", "message"],
            "properties": {
                "index": {"type": "integer", "minimum": 0, "description": "Of the item in the request."},
                "status": _STATUS,
                "message": {"type": "string"},
            },
        },
    },
    "omitted": {
        "type": "array",
        "description": f"The errors that are not listed, so that the response stays below {MAX_RESPONSE_BYTES} bytes; "
        "list all of them with ?errors=all.",
        "items": {
            "type": "object",
            "required": ["status", "message", "count"],
            "properties": {
                "status": _STATUS,
                "message": {"type": "string"},
                "count": {"type": "integer", "minimum": 1},
            },
        },
    },
}
_RESULTS: Final[Schema] = {"type": "object", "required": ["accepted", "rejected", "errors"], "properties": _COUNTS}
_BATCH_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["message"],
    "description": "With what became of each item, unless the batch was rejected as a whole. Beside a 503 items may be "
    "accepted: repeat the whole batch with the same ids, or the items whose status is 503.",
    "properties": {**_ERROR["properties"], **_COUNTS},
    "dependentRequired": {"errors": ["accepted", "rejected"]},
}


def _number(about: str) -> Schema:
    return {"description": about, "schema": {"type": "string", "pattern": "^[0-9]+$"}}


_RATE_LIMIT: Final = {
    "RateLimit-Limit": _number("Pageviews that the API client may send at once."),
    "RateLimit-Remaining": _number("Pageviews left now."),
    "RateLimit-Reset": _number("Seconds until all of them are available again."),
}
_RETRY_AFTER: Final = {"Retry-After": _number("Seconds after which to repeat the request.")}
_AUTHENTICATE: Final = {"WWW-Authenticate": {"schema": {"type": "string"}}}


def _failures(schema: Schema) -> Schema:
    """Return the description of each error status, from the reasons that have it."""
    by_status: dict[int, list[Reason]] = {}
    for reason in Reason:
        if reason not in _ELSEWHERE:
            by_status.setdefault(reason.status, []).append(reason)
    return {
        str(status): {
            "description": "\n".join(f"- {reason.text}" for reason in reasons),
            "headers": _failure_headers(reasons[0]),
            "content": {"application/json": {"schema": schema}},
        }
        for status, reasons in sorted(by_status.items())
    }


def _failure_headers(reason: Reason) -> Schema:
    if reason is Reason.NO_TOKEN:  # the client is not known, so it has no rate limit
        return _AUTHENTICATE
    return {**_RATE_LIMIT, **(_RETRY_AFTER if reason.retryable else {})}


_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 printable ASCII characters. Missing ids are derived from it, API client and content.",
    "schema": {"type": "string", "pattern": f"^{KEY_PATTERN}$"},
}
_ERRORS: Final = {
    "name": "errors",
    "in": "query",
    "required": False,
    "description": f"all: list every item's error, even if the response then exceeds {MAX_RESPONSE_BYTES} bytes.",
    "schema": {"type": "string", "examples": ["all"]},
}
_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"apiKey": []}]


def _operation(
    operation_id: str,
    summary: str,
    body: Schema,
    accepted: Schema,
    failure: str,
    *,
    required: bool = True,
    parameters: tuple[Schema, ...] = (),
) -> Schema:
    return {
        "operationId": operation_id,
        "summary": summary,
        "security": _SECURITY,
        "parameters": [_KEY, *parameters],
        "requestBody": {"required": required, "content": body},
        "responses": {"202": accepted, **_failures({"$ref": f"#/components/schemas/{failure}"})},
    }


_ONE: Final[Schema] = {"$ref": "#/components/schemas/Pageview"}
#: One good item is enough for a 202.  No maxItems, since one item too many is 413 rather than 400.
_MANY: Final[Schema] = {
    "type": "array",
    "items": {"anyOf": [_ONE, {"description": "Anything that is not a pageview gets a separate error."}]},
    "anyOf": [{"maxItems": 0}, {"contains": _ONE}],
}
_LINES: Final[Schema] = {
    "type": "string",
    "description": "One Pageview as JSON per line, or several one behind another; empty lines are skipped.",
}


def _post_one() -> Schema:
    return _operation(
        "postPageview",
        f"Post one pageview of at most {MAX_BODY_BYTES} bytes. {_HEADERS}",
        {"application/json": {"schema": _ONE}},
        {"description": "Durable in the queue.", "headers": _RATE_LIMIT},
        "Error",
    )


def _post_many() -> Schema:
    return _operation(
        "postPageviews",
        f"Post up to {MAX_ITEMS} pageviews as a JSON array, one JSON object per line (NDJSON) or JSON objects one "
        f"behind another, at most {MAX_BATCH_BYTES} bytes before and after decompression, {MAX_BODY_BYTES} an item. "
        f"{_HEADERS} Good items are accepted even when others are not.",
        {"application/json": {"schema": _MANY}, "application/x-ndjson": {"schema": _LINES}},
        {
            "description": "What was accepted is durable in the queue; every other item has an error.",
            "headers": _RATE_LIMIT,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Results"}}},
        },
        "BatchError",
        required=False,
        parameters=(_ERRORS,),
    )


def _description(method: str) -> Schema:
    content = {"content": {"application/json": {"schema": {"type": "object"}}}} if method == "get" else {}
    return {
        "operationId": f"{method}Description",
        "summary": "This description.",
        "security": [],
        "responses": {"200": {"description": "OpenAPI 3.1", **content}},
    }


def document() -> Schema:
    """Return the whole description."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hitline", "version": "1", "description": _ABOUT, "license": {"name": "MIT"}},
        "paths": {
            "/api/ingest/server/pageview": {"post": _post_one()},
            "/api/ingest/server/pageviews": {"post": _post_many()},
            "/api/openapi.json": {"get": _description("get"), "head": _description("head")},
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
            "schemas": {
                "Pageview": _pageview(),
                "Error": _ERROR,
                "Results": _RESULTS,
                "BatchError": _BATCH_ERROR,
            },
        },
    }


@cache
def _serialised() -> bytes:
    return orjson.dumps(document())


async def get(_: BaseRequest) -> web.Response:
    """Serve the description."""
    return web.Response(body=_serialised(), headers={"Content-Type": "application/json"})

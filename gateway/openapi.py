"""The gateway's OpenAPI 3.1 description, served at `/api/openapi.json`."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway.intake import KEY_PATTERN
from gateway.items import MAX_BATCH_BYTES, MAX_ITEMS
from gateway.validate import MAX_BODY_BYTES

Schema = dict[str, Any]

_ABOUT: Final = """\
Takes pageviews from trusted servers. 202 means that a majority of the queue's replicas has the pageview on disk.

Speaks HitKeep's server-side pageview contract and goes beyond it, knowingly: a body over the limit is 413, times are \
bounded (1990 to 24 hours ahead), limits go by API client rather than by address, 429 and 503 carry Retry-After, many \
pageviews may be posted at once, and a request may carry an Idempotency-Key.

A pageview's identity is (site, timestamp to the millisecond, session_id, page_id): repeating a request with the same \
ids, or with the same Idempotency-Key, stores nothing twice."""


def _optional(schema: Schema) -> Schema:
    """Null is absent."""
    return {**schema, "type": [schema["type"], "null"]}


_UUID: Final = {
    "type": ["string", "null"],
    # Not `format: uuid`, which some take to exclude versions that came after RFC 4122.
    "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
}
_PIXELS: Final = {"type": "integer", "minimum": 0, "maximum": 65535}
_PAGEVIEW: Final[Schema] = {
    "type": "object",
    "required": ["url", "timestamp", "visitor_ip", "user_agent"],
    "description": "Unknown fields are ignored. UTM values and hk_qr are read from the URL's query only.",
    "properties": {
        "url": {
            "type": "string",
            "format": "uri",
            "description": "Absolute http or https URL; its hostname picks the site. Trimmed.",
            "examples": ["https://example.com/pricing?utm_source=newsletter"],
        },
        "timestamp": {
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with zone, from 1990 to 24 hours ahead; kept to the millisecond. Trimmed.",
        },
        "visitor_ip": {
            "type": "string",
            "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}],
            "description": "Used for exclusions, spam filtering, country, region, city, provider and ASN; never "
            "stored. No port, prefix or zone; a v4-mapped IPv6 address counts as IPv4. Trimmed.",
        },
        "user_agent": {
            "type": "string",
            "minLength": 1,
            "not": {"pattern": r"^\s*$"},
            "description": "Not empty once trimmed.",
        },
        "dnt": {"type": ["boolean", "null"], "description": "true: the pageview is accepted, counted and not stored."},
        "session_id": {
            **_UUID,
            "description": "Any version; absent, null or nil: made by the gateway (derived from page_id if given).",
        },
        "page_id": {
            **_UUID,
            "description": "Any version; absent, null or nil: made by the gateway.",
        },
        "referrer": {"type": ["string", "null"]},
        "language": {"type": ["string", "null"]},
        "screen_width": _optional(_PIXELS),
        "screen_height": _optional(_PIXELS),
        "viewport_width": _optional(_PIXELS),
        "viewport_height": _optional(_PIXELS),
    },
}
_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["message"],
    "properties": {"message": {"type": "string", "description": "Names the field and the rule, quotes no value."}},
}
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
                "status": {"type": "integer", "enum": [400, 403, 404, 413, 503]},
                "message": {"type": "string"},
            },
        },
    },
}
_RESULTS: Final[Schema] = {"type": "object", "required": list(_COUNTS), "properties": _COUNTS}
_BATCH_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["message"],
    "description": "With the items' own errors where nothing was accepted; else the batch was refused as a whole.",
    "properties": {**_ERROR["properties"], **_COUNTS},
    "dependentRequired": {"errors": ["accepted", "rejected"]},
}


def _count(about: str) -> Schema:
    return {"description": about, "schema": {"type": "string", "pattern": "^[0-9]+$"}}


_LIMITS: Final = {
    "RateLimit-Limit": _count("Pageviews that the API client may send at once."),
    "RateLimit-Remaining": _count("Pageviews left now."),
    "RateLimit-Reset": _count("Seconds until all of them are free again."),
}
_RETRY: Final = {"Retry-After": _count("Seconds after which to repeat the request.")}
_CHALLENGE: Final = {"WWW-Authenticate": {"schema": {"type": "string"}}}

#: status → (what it means, its headers besides the limits')
_FAILURES: Final[dict[str, tuple[str, Schema]]] = {
    "400": ("The body, a field or a header is wrong, or the request is not well-formed HTTP.", {}),
    "401": ("No token, an unknown or a revoked one.", _CHALLENGE),
    "403": ("The API client has no site.manage_data permission on the hostname's site.", {}),
    "404": ("The URL's hostname belongs to no site.", {}),
    "408": ("The body did not arrive within 30 seconds.", {}),
    "413": ("The body is over the limit of bytes or pageviews.", {}),
    "415": ("The Content-Encoding is none of gzip, deflate, zstd, identity.", {}),
    "417": ("An Expect header other than 100-continue.", {}),
    "429": ("The API client's rate limit is reached, or the address sent too many wrong tokens.", _RETRY),
    "503": (
        "Not taken, where the message begins with 'not taken'; of unknown fate where it begins with 'unknown': then "
        "repeat it with the same ids or Idempotency-Key, which stores nothing twice.",
        _RETRY,
    ),
}


def _failures(schema: Schema) -> Schema:
    return {
        status: {
            "description": about,
            # The limits' only once the client is known: not where a declared length was too large, for instance.
            "headers": headers if status == "401" else {**_LIMITS, **headers},
            "content": {"application/json": {"schema": schema}},
        }
        for status, (about, headers) in _FAILURES.items()
    }


_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 printable ASCII characters. Ids that are missing are derived from it, client and content.",
    "schema": {"type": "string", "pattern": f"^{KEY_PATTERN}$"},
}
_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"apiKey": []}]


def _operation(
    operation_id: str, summary: str, body: Schema, accepted: Schema, failure: str, *, required: bool = True
) -> Schema:
    return {
        "operationId": operation_id,
        "summary": summary,
        "security": _SECURITY,
        "parameters": [_KEY],
        "requestBody": {"required": required, "content": body},
        "responses": {"202": accepted, **_failures({"$ref": f"#/components/schemas/{failure}"})},
    }


_ONE: Final[Schema] = {"$ref": "#/components/schemas/Pageview"}
#: One good item is enough for a 202.  No maxItems: one more is not 400, as for what breaks a schema, but 413.
_MANY: Final[Schema] = {
    "type": "array",
    "items": {"anyOf": [_ONE, {"description": "Whatever is no pageview gets an error of its own in the answer."}]},
    "anyOf": [{"maxItems": 0}, {"contains": _ONE}],
}
_LINES: Final[Schema] = {"type": "string", "description": "One Pageview as JSON a line; empty lines are skipped."}
_HEADERS: Final = "The Content-Type is ignored; the Content-Encoding may be gzip, deflate or zstd."


def _paths() -> Schema:
    return {
        "/api/ingest/server/pageview": {
            "post": _operation(
                "postPageview",
                f"Post one pageview, at most {MAX_BODY_BYTES} bytes. {_HEADERS}",
                {"application/json": {"schema": _ONE}},
                {"description": "Durable in the queue.", "headers": _LIMITS},
                "Error",
            )
        },
        "/api/ingest/server/pageviews": {
            "post": _operation(
                "postPageviews",
                f"Post up to {MAX_ITEMS} pageviews as a JSON array or as one JSON object a line (NDJSON), at most "
                f"{MAX_BATCH_BYTES} bytes before and after decompression, an item {MAX_BODY_BYTES}. {_HEADERS} Good "
                "items are accepted even when others are not.",
                {"application/json": {"schema": _MANY}, "application/x-ndjson": {"schema": _LINES}},
                {
                    "description": "What was accepted is durable in the queue; each other item has an error.",
                    "headers": _LIMITS,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Results"}}},
                },
                "BatchError",
                required=False,
            )
        },
        "/api/openapi.json": {"get": _description("get"), "head": _description("head")},
    }


def _description(method: str) -> Schema:
    content = {"content": {"application/json": {"schema": {"type": "object"}}}} if method == "get" else {}
    return {
        "operationId": f"{method}Description",
        "summary": "This description.",
        "security": [],
        "responses": {"200": {"description": "OpenAPI 3.1", **content}},
    }


_COMPONENTS: Final[Schema] = {
    "securitySchemes": {
        "bearer": {"type": "http", "scheme": "bearer"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    },
    "schemas": {
        "Pageview": _PAGEVIEW,
        "Error": _ERROR,
        "Results": _RESULTS,
        "BatchError": _BATCH_ERROR,
    },
}


def _document() -> Schema:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hitline", "version": "1", "description": _ABOUT, "license": {"name": "MIT"}},
        "paths": _paths(),
        "components": _COMPONENTS,
    }


@cache
def _serialised() -> bytes:
    return orjson.dumps(_document())


async def get(_: BaseRequest) -> web.Response:
    """Serve the description."""
    return web.Response(body=_serialised(), headers={"Content-Type": "application/json"})

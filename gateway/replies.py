"""From every failure to its answer: the one table of statuses, texts and headers.

Whoever finds something wrong raises `Rejected` with a reason of this table; `pageviews.py` turns it into a response.
Texts never quote what the client sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus

import orjson
from aiohttp import web


class Reason(Enum):
    """Why a request is not taken: (name in metrics, status, text unless the place of failure has a better one)."""

    TOO_LARGE = ("too_large", 413, "body is too large")
    NO_TOKEN = (
        "no_token",
        401,
        "Authorization: send an API token as 'Authorization: Bearer TOKEN' or 'X-API-Key: TOKEN'",
    )
    BAD_TOKEN = ("bad_token", 401, "Authorization: the API token is unknown or revoked")
    RATE_LIMITED = (
        "rate_limited",
        429,
        "rate limit: the API client's limit is reached, repeat after Retry-After seconds",
    )
    TOO_MANY_FAILURES = (
        "too_many_failures", 429, "rate limit: too many requests without a valid API token from this address",
    )  # fmt: skip
    INVALID = ("invalid", 400, "body is not a valid pageview")
    UNKNOWN_SITE = ("unknown_site", 404, "url: its hostname belongs to no site")
    FORBIDDEN = (
        "forbidden",
        403,
        "url: the API client has no site.manage_data permission on this hostname's site",
    )
    BROKER_DOWN = ("broker_down", 503, "not taken: the queue can't be reached, repeat later")
    BROKER_BLOCKED = (
        "broker_blocked",
        503,
        "not taken: the queue is out of memory or disk space, repeat later",
    )
    BROKER_REFUSED = ("broker_refused", 503, "not taken: the queue is full, repeat later")
    NO_QUEUE = (
        "no_queue",
        503,
        "not taken: the queue does not exist (operator: hitline migrate), repeat later",
    )
    BUFFER_FULL = ("buffer_full", 503, "not taken: too many requests are waiting for the queue, repeat later")
    NO_REGISTRY = (
        "no_registry",
        503,
        "not taken: no site is registered yet or the registry is out of reach, repeat later",
    )
    UNKNOWN_FATE = (
        "unknown_fate", 503,
        "unknown: sent to the queue, which did not confirm in time; repeat with the same ids or Idempotency-Key",
    )  # fmt: skip
    SLOW_CLIENT = ("slow_client", 408, "the body did not arrive in time")
    CLIENT_GONE = ("client_gone", 400, "the connection was closed before the body was complete")
    BAD_ENCODING = ("bad_encoding", 400, "body does not decompress as its Content-Encoding says")
    UNKNOWN_ENCODING = (
        "unknown_encoding",
        415,
        "Content-Encoding: only gzip, deflate, zstd and identity are known",
    )
    MALFORMED_HTTP = ("malformed_http", 400, "request is not well-formed HTTP")
    NOT_FOUND = ("not_found", 404, "no such endpoint; see /api/openapi.json")
    WRONG_METHOD = ("wrong_method", 405, "method not allowed here")
    EXPECTATION = ("expectation", 417, "Expect: only 100-continue is known")
    INTERNAL = ("internal", 500, "internal error; it has been logged")

    def __init__(self, label: str, status: int, text: str) -> None:
        self.label = label
        self.status = status
        self.text = text


#: Seconds after which a refused request is worth repeating, where the reason itself does not say.
RETRY_AFTER_S = 1


class Rejected(Exception):
    """A request, or an item of a batch, is not taken, for a reason of the table."""

    def __init__(self, reason: Reason, text: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason.label)
        self.reason = reason
        self.text = text or reason.text
        self.headers = dict(headers or {})


def error_response(rejected: Rejected) -> web.Response:
    """Return the documented answer: the reason's status and `{"message": …}`."""
    headers = {"Content-Type": "application/json", **rejected.headers}
    status = rejected.reason.status
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="hitline"'
    elif status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return web.Response(status=status, body=orjson.dumps({"message": rejected.text}), headers=headers)

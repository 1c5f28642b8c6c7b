"""Every reason to reject a request, with its status and message: the one table of them.

Code that rejects something raises `Rejected` with a reason from this table; `app.py` turns it into a response.
Messages never quote what the client sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus

import orjson
from aiohttp import web


class Reason(Enum):
    """Why a request is rejected: (name in metrics, status, default message)."""

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
        "rate limit: the API client's limit is reached; repeat after Retry-After seconds",
    )
    TOO_MANY_FAILURES = (
        "too_many_failures", 429, "rate limit: too many requests with a wrong API token from this address",
    )  # fmt: skip
    INVALID = ("invalid", 400, "body is not a valid pageview")
    UNKNOWN_SITE = ("unknown_site", 404, "url: no site has this hostname")
    FORBIDDEN = (
        "forbidden",
        403,
        "url: the API client lacks the site.manage_data permission on this hostname's site",
    )
    BROKER_DOWN = ("broker_down", 503, "not taken: the queue is unreachable; repeat later")
    BROKER_BLOCKED = (
        "broker_blocked",
        503,
        "not taken: the queue is out of memory or disk space; repeat later",
    )
    BROKER_REFUSED = ("broker_refused", 503, "not taken: the queue is full, or can not write to its disk; repeat later")
    NO_QUEUE = (
        "no_queue",
        503,
        "not taken: the queue does not exist (operators: run hitline migrate); repeat later",
    )
    UNSAFE_QUEUE = (
        "unsafe_queue",
        503,
        "not taken: a policy of the queue may delete accepted pageviews (operators: run hitline doctor); repeat later",
    )
    BUFFER_FULL = ("buffer_full", 503, "not taken: too many requests are waiting; repeat later")
    NO_REGISTRY = (
        "no_registry",
        503,
        "not taken: no site is registered yet, or the registry is unreachable; repeat later",
    )
    OLD_REGISTRY = (
        "old_registry",
        503,
        "not taken: this gateway has not been able to update its registry for too long; repeat later",
    )
    UNKNOWN_FATE = (
        "unknown_fate", 503,
        "unknown: sent to the queue, but not confirmed in time; repeat with the same ids or Idempotency-Key",
    )  # fmt: skip
    SLOW_CLIENT = ("slow_client", 408, "the body did not arrive in time")
    CLIENT_GONE = ("client_gone", 400, "the connection was closed before the body was complete")
    BAD_ENCODING = ("bad_encoding", 400, "Content-Encoding: the body can't be decompressed as this header says")
    UNKNOWN_ENCODING = (
        "unknown_encoding",
        415,
        "Content-Encoding: only gzip, deflate, zstd and identity are supported",
    )
    TOO_MANY_CONNECTIONS = ("too_many_connections", 503, "not taken: too many connections are open; repeat later")
    URI_TOO_LONG = ("uri_too_long", 414, "request line: is over the limit of 8190 bytes")
    HEADERS_TOO_LARGE = (
        "headers_too_large", 431, "headers: are over the limit of 100, of 8190 bytes each or of 32 KiB together",
    )  # fmt: skip
    HTTP_VERSION = ("http_version", 505, "only HTTP/1.1 and HTTP/1.0 are supported")
    TRANSFER_ENCODING = ("transfer_encoding", 501, "Transfer-Encoding: only chunked is supported")
    MALFORMED_HTTP = ("malformed_http", 400, "request is not well-formed HTTP")
    NOT_FOUND = ("not_found", 404, "no such endpoint; see /api/openapi.json")
    WRONG_METHOD = ("wrong_method", 405, "method not allowed; see the Allow header")
    EXPECTATION = ("expectation", 417, "Expect: only 100-continue is supported")
    INTERNAL = ("internal", 500, "internal error; it has been logged")

    def __init__(self, label: str, status: int, text: str) -> None:
        self.label = label
        self.status = status
        self.text = text

    @property
    def retryable(self) -> bool:
        """Whether repeating the same request later may succeed."""
        return self.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


#: Reasons for which a single item of a batch can be rejected; further ones apply to a batch as a whole.
ITEM_REASONS = (
    Reason.INVALID,
    Reason.UNKNOWN_SITE,
    Reason.FORBIDDEN,
    Reason.TOO_LARGE,
    Reason.BROKER_DOWN,
    Reason.BROKER_BLOCKED,
    Reason.BROKER_REFUSED,
    Reason.NO_QUEUE,
    Reason.UNSAFE_QUEUE,
    Reason.BUFFER_FULL,
    Reason.UNKNOWN_FATE,
)

#: `Retry-After` in seconds of rejections that do not compute their own.
RETRY_AFTER_S = 1


class Rejected(Exception):
    """A request, or an item of a batch, is rejected for a reason from the table."""

    def __init__(self, reason: Reason, text: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason.label)
        self.reason = reason
        self.text = text or reason.text
        #: How many pageviews it costs, as far as they were counted.
        self.pageviews = 1
        self.headers = dict(headers or {})


def error_response(rejected: Rejected) -> web.Response:
    """Return the documented response: the reason's status and `{"message": …}`."""
    headers = {"Content-Type": "application/json", **rejected.headers}
    status = rejected.reason.status
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="hitline"'
    elif rejected.reason.retryable:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return web.Response(status=status, body=orjson.dumps({"message": rejected.text}), headers=headers)


def as_bytes(rejected: Rejected) -> bytes:
    """Return the same response as the bytes of a whole HTTP/1.1 message, after which the connection is closed."""
    response = error_response(rejected)
    body = response.body if isinstance(response.body, bytes) else b""
    headers = {**response.headers, "Content-Length": str(len(body)), "Connection": "close", "Server": "hitline"}
    head = f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
    return (head + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode() + body

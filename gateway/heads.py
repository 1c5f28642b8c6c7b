"""Heads of requests: how large one may be, and what of a parsed or unparsable one is refused before any handler."""

from __future__ import annotations

from typing import Final

from aiohttp import HttpVersion10, HttpVersion11
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from gateway.replies import Reason, Rejected

#: Bytes of the request line, of one header, and of a whole head (nginx: large_client_header_buffers 4 8k).
MAX_LINE_BYTES: Final = 8190
MAX_HEADER_BYTES: Final = 8191  # unlike the line's, so that the parser's error tells which it was
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
#: HTTP/0.9 and 2.0 are in no request line that means something (RFC 9113, section 3).
_VERSIONS: Final = (HttpVersion11, HttpVersion10)


def unusable(message: RawRequestMessage) -> Reason | None:
    """Return why a request that was parsed can't be handled, None if it can."""
    if message.version not in _VERSIONS:  # the answer would have the same
        return Reason.HTTP_VERSION
    return None if _has_usable_host(message) else Reason.MALFORMED_HTTP


def size_of(message: RawRequestMessage) -> int:
    """Return the bytes of a head, but for some of its request line."""
    return len(message.path) + sum(len(name) + len(value) + 4 for name, value in message.raw_headers)


def offers_unknown_protocol(message: RawRequestMessage) -> bool:
    """Return whether a request to upgrade is to what aiohttp has no way of its own for."""
    return message.method != "CONNECT" and message.headers.get("Upgrade", "").lower() != "websocket"


def rejection(status: int, error: BaseException | None) -> Rejected:
    """Return what to answer to a request that could not be parsed or handled, by aiohttp's status and error."""
    if isinstance(error, Rejected):
        return error
    if isinstance(error, LineTooLong):
        line = MAX_LINE_BYTES in error.args
        return Rejected(Reason.URI_TOO_LONG if line else Reason.HEADERS_TOO_LARGE)
    if status < 500 or isinstance(error, HttpProcessingError):
        many = isinstance(error, HttpProcessingError) and error.message.startswith("Too many headers")
        return Rejected(Reason.HEADERS_TOO_LARGE if many else Reason.MALFORMED_HTTP)
    return Rejected(Reason.INTERNAL)


def _has_usable_host(message: RawRequestMessage) -> bool:
    """Return False for a request line with a whole URL whose host is invalid: aiohttp would never answer it."""
    try:
        return not message.url.absolute or message.url.host is not None
    except ValueError:  # of `idna`
        return False

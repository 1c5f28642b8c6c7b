"""The HTTP server: aiohttp's low-level server, with JSON bodies for all errors, even those outside of any handler.

The low-level server (no `Application`) leaves routing to `app.py`: two routes need no router, and all responses,
including those to unknown paths and wrong methods, come from one place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_request import BaseRequest

from gateway.replies import Reason, Rejected, error_response
from shared import metrics

log = logging.getLogger(__name__)

#: aiohttp's server logger would log raw request lines and header values, which contain addresses and tokens.
_mute = logging.getLogger("hitline.muted")
_mute.disabled = True

#: Seconds within which the first request's head must be complete.
HEAD_SECONDS: Final = 30.0
#: Seconds within which a request's body must have arrived.
BODY_SECONDS: Final = 30.0
_LINGER_S: Final = 2.0
_KEEPALIVE_S: Final = 75.0

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]


class JsonRequestHandler(web.RequestHandler):
    """aiohttp's protocol with Hitline's error bodies.

    Handles requests that can't be parsed and handlers that crash; the base class would log the request and quote it in
    a plain-text response.
    """

    __slots__ = ("_sent_all", "_silence")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timeout for the first request; aiohttp has one for later requests only."""
        self._sent_all = False
        super().connection_made(transport)
        self._silence = self._loop.call_later(HEAD_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the timer, which would keep closed connections in memory until it fires."""
        self._silence.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a half-closed connection (`shutdown`, as `nc -N` does) open until its requests are answered.

        Returns whether the connection stays open for writing.
        """
        self._sent_all = True
        if self._messages:
            return True
        # aiohttp's loop has a `_waiter` only while it waits for a request; it has none while it handles one, even
        # before the handler has started.
        idle = self._waiter is not None or self._request_count == 0
        request = self._current_request
        if idle or (request is not None and not request.content.is_eof()):  # the rest of its body can't arrive any more
            return False
        self._close = True
        return True

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; close a half-closed connection after the last one."""
        if self._sent_all and not self._messages:
            self._close = True
        return await super().finish_response(request, resp, start_time)

    def _close_if_silent(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes the request
    ) -> web.StreamResponse:
        """Return the response to a request that never reached a handler, or whose handler crashed."""
        malformed = status < 500 or isinstance(exc, HttpProcessingError)
        if not malformed:
            log.error("a request handler failed", exc_info=exc)
        reason = Reason.MALFORMED_HTTP if malformed else Reason.INTERNAL
        metrics.REJECTED.labels(reason.label).inc()
        if request.writer.output_size > 0:
            raise ConnectionError("part of the response was already sent")
        response = error_response(Rejected(reason))
        response.force_close()
        metrics.REQUESTS.labels(metrics.OTHER_ROUTE, response.status).inc()
        return response


class JsonServer(web.Server):
    """aiohttp's low-level server with the protocol above."""

    def __init__(self, handler: Handler) -> None:
        self._options = {
            "logger": _mute,
            "access_log": None,
            "auto_decompress": False,
            "lingering_time": _LINGER_S,
            "keepalive_timeout": _KEEPALIVE_S,
        }
        super().__init__(handler)

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return JsonRequestHandler(self, loop=self._loop, **self._options)  # type: ignore[arg-type]


def _unlimited(_: int) -> None:
    """Single pageviews are not counted: they are bounded by the number of connections."""


async def read_body(request: BaseRequest, limit: int, reserve: Callable[[int], None] = _unlimited) -> bytes | bytearray:
    """Return the request's body as sent, at most `limit` bytes; `reserve` is called with the size of each part.

    `100 Continue` is sent here only, after everything that can be rejected without a body.  Raises `Rejected`: too
    large, too slow, malformed (a broken chunk), or whatever `reserve` raises.
    """
    check_declared_length(request, limit)
    expectation = request.headers.get("Expect")
    if expectation is not None:
        await _answer_expectation(request, expectation)
    if not request.body_exists:
        return b""
    try:
        if request.content.is_eof():  # it has arrived already, as small bodies have
            body = _within(limit, request.content.read_nowait())
            reserve(len(body))
            return body
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_all(request.content, limit, reserve)
    except TimeoutError:
        raise Rejected(Reason.SLOW_CLIENT) from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise Rejected(Reason.MALFORMED_HTTP) from None
    except ConnectionError:  # nobody reads this response
        raise Rejected(Reason.CLIENT_GONE) from None


def check_declared_length(request: BaseRequest, limit: int) -> None:
    """Raise `Rejected` (413) when `Content-Length` is over `limit` bytes."""
    if (request.content_length or 0) > limit:
        raise too_large(limit)


def too_large(limit: int) -> Rejected:
    """Return the rejection (413) of a body over `limit` bytes."""
    return Rejected(Reason.TOO_LARGE, f"body: is over the limit of {limit} bytes")


def _within(limit: int, body: bytes) -> bytes:
    if len(body) > limit:
        raise too_large(limit)
    return body


async def _read_all(content: StreamReader, limit: int, reserve: Callable[[int], None]) -> bytearray:
    body = bytearray()  # grows in place, where joining parts would need twice the memory
    while not content.at_eof():
        part = await content.readany()
        if len(body) + len(part) > limit:
            raise too_large(limit)
        reserve(len(part))
        body += part
    return body


async def _answer_expectation(request: BaseRequest, expectation: str) -> None:
    if expectation.lower() != "100-continue":
        raise Rejected(Reason.EXPECTATION)
    if request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the response itself has not started

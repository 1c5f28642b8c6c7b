"""The HTTP server: aiohttp's low-level one, with JSON answers for everything, also for what never reaches a handler.

The low-level server (no `Application`) leaves routing to `app.py`: two routes need no router, and all answers, those
to unknown paths and wrong methods too, come from one place.
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

#: aiohttp's server logger writes raw request lines and header values, which hold addresses and tokens.
_mute = logging.getLogger("hitline.muted")
_mute.disabled = True

#: Seconds in which a connection's first request must have a complete head.
HEAD_SECONDS: Final = 30.0
#: Seconds in which a request's body must have arrived.
BODY_SECONDS: Final = 30.0
_LINGER_S: Final = 2.0
_KEEPALIVE_S: Final = 75.0

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]


class JsonRequestHandler(web.RequestHandler):
    """aiohttp's protocol with Hitline's error bodies.

    Requests that do not parse and handlers that crash end here; the base class would answer in plain text that quotes
    the request, and log it.
    """

    __slots__ = ("_sent_all", "_silence")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give a new connection some time for its first request; the library does so only for later ones."""
        self._sent_all = False
        super().connection_made(transport)
        self._silence = self._loop.call_later(HEAD_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the timer: it would keep every connection of the last half minute in memory."""
        self._silence.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has sent all it wants to send (`shutdown`, as `nc -N` does) still gets its answers.

        Returns whether the connection stays open for writing: until the last complete request is answered.
        """
        self._sent_all = True
        if self._messages:
            return True
        # While it waits for a request, and only then, aiohttp's loop has a future to wait for; from taking up a
        # request to being back there it has none, whether or not its handler has begun.
        idle = self._waiter is not None or self._request_count == 0
        request = self._current_request
        if idle or (request is not None and not request.content.is_eof()):  # the rest of its body can't come any more
            return False
        self._close = True
        return True

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; behind the last one to a client that has sent all, the connection closes."""
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
        """Return the answer to a request that never reached a handler, or whose handler crashed."""
        malformed = status < 500 or isinstance(exc, HttpProcessingError)
        if not malformed:
            log.error("a request handler failed", exc_info=exc)
        reason = Reason.MALFORMED_HTTP if malformed else Reason.INTERNAL
        metrics.REJECTED.labels(reason.label).inc()
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was already begun")
        response = error_response(Rejected(reason))
        response.force_close()
        metrics.REQUESTS.labels(metrics.OTHER_ROUTE, response.status).inc()
        return response


class JsonServer(web.Server):
    """aiohttp's low-level server, making connections of the protocol above."""

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


def _boundless(_: int) -> None:
    """Small bodies are many, but bounded by the number of connections."""


async def read_body(request: BaseRequest, limit: int, take: Callable[[int], None] = _boundless) -> bytes:
    """Return the request's body as sent, at most `limit` bytes of it; `take` hears of each part's size.

    A client that asks (`Expect: 100-continue`) is told to go on only here, after all that can be refused without a
    body.  Raises `Rejected`: too large, too slow, or malformed (a broken chunk).
    """
    check_declared_length(request, limit)
    expectation = request.headers.get("Expect")
    if expectation is not None:
        await _answer_expectation(request, expectation)
    if not request.body_exists:
        return b""
    try:
        if request.content.is_eof():  # all here already, as small bodies are
            body = _within(limit, request.content.read_nowait())
            take(len(body))
            return body
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_all(request.content, limit, take)
    except TimeoutError:
        raise Rejected(Reason.SLOW_CLIENT) from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise Rejected(Reason.MALFORMED_HTTP) from None
    except ConnectionError:  # nobody is there any more to read this
        raise Rejected(Reason.CLIENT_GONE) from None


def check_declared_length(request: BaseRequest, limit: int) -> None:
    """Raise `Rejected` (413) when the request says itself that its body is over `limit` bytes."""
    if (request.content_length or 0) > limit:
        raise too_large(limit)


def too_large(limit: int) -> Rejected:
    """Return the 413 for a body over `limit` bytes."""
    return Rejected(Reason.TOO_LARGE, f"body: is over the limit of {limit} bytes")


def _within(limit: int, body: bytes) -> bytes:
    if len(body) > limit:
        raise too_large(limit)
    return body


async def _read_all(content: StreamReader, limit: int, take: Callable[[int], None]) -> bytes:
    parts = []
    size = 0
    while not content.at_eof():
        part = await content.readany()
        parts.append(part)
        size += len(part)
        if size > limit:
            raise too_large(limit)
        take(len(part))
    return b"".join(parts)


async def _answer_expectation(request: BaseRequest, expectation: str) -> None:
    if expectation.lower() != "100-continue":
        raise Rejected(Reason.EXPECTATION)
    if request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun

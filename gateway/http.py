"""The HTTP server: aiohttp's low-level server, with JSON bodies for all errors, even those outside of any handler.

The low-level server (no `Application`) leaves routing to `app.py`: two routes need no router, and all responses,
including those to unknown paths and wrong methods, come from one place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import HttpVersion10, StreamReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_request import BaseRequest

from gateway.authenticate import API_KEY
from gateway.connection import Connection
from gateway.connections import ConnectionLimits
from gateway.replies import Reason, Rejected
from gateway.settings import KEEPALIVE_SECONDS

#: Seconds within which a request's body must have arrived.
BODY_SECONDS: Final = 30.0
#: What the end of a chunk costs, in bytes of a body: one of 16 MiB may consist of as many chunks.
_CHUNK_BYTES: Final = 2048
#: Bytes of a body that are read before other requests get a turn.
_SLICE_BYTES: Final = 256 * 1024
#: How often connections are searched for those whose client does not read.
_SWEEP_S: Final = 5.0

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]


class JsonServer(web.Server):
    """aiohttp's low-level server with Hitline's connections."""

    def __init__(
        self, handler: Handler, limits: ConnectionLimits | None = None, keepalive_s: float = KEEPALIVE_SECONDS
    ) -> None:
        """Without requests a connection is closed after `keepalive_s`."""
        self._keepalive_s = keepalive_s
        self._limits = limits or ConnectionLimits()
        super().__init__(handler)

    def __call__(self, address: str = "") -> web.RequestHandler:
        """Return the protocol of a new connection that `limits` has admitted, of the network it is counted for."""
        return Connection(self, self._loop, self._limits, address, self._keepalive_s)

    async def watch(self) -> None:
        """End connections of clients that do not read, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._abort_unread()

    def _abort_unread(self) -> None:
        now = self._loop.time()
        for connection, transport in list(self._connections.items()):
            if isinstance(connection, Connection):
                connection.abort_if_unread(transport, now)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Let requests in flight finish for `timeout` seconds, then close all connections, even busy ones."""
        transports = list(self._connections.values())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await super().shutdown(timeout)
        for transport in transports:
            transport.abort()


def check_http(request: BaseRequest) -> None:
    """Raise `Rejected` for what the parser lets pass and no client means.

    Transfer codings other than chunked (501; RFC 9112, section 6.1), any of them in HTTP/1.0, which proxies may frame
    differently, and repeated `Authorization` headers (400).
    """
    headers = request.headers
    coding = headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None:
        if request.version == HttpVersion10:
            raise Rejected(Reason.MALFORMED_HTTP, "Transfer-Encoding: is not part of HTTP/1.0")
        if coding.strip().lower() != "chunked":
            raise Rejected(Reason.TRANSFER_ENCODING)
    for name in (hdrs.AUTHORIZATION, API_KEY):
        if name in headers and len(headers.getall(name)) > 1:
            raise Rejected(Reason.MALFORMED_HTTP, f"{name}: is there more than once")


def _unlimited(_: int) -> None:
    """For bodies that need not be counted."""


def _unpaced(_: int) -> float:
    """For bodies that are read as fast as they come."""
    return 0.0


def has_arrived(request: BaseRequest) -> bool:
    """Return whether a request's body has come with its head, as small ones do, and nothing has to be done for it."""
    return request.content.is_eof() and hdrs.EXPECT not in request.headers


def arrived_body(request: BaseRequest, limit: int) -> bytes:
    """Return a body that has arrived; raises `Rejected` for one over `limit` bytes."""
    return _within(limit, request.content.read_nowait())


async def read_body(
    request: BaseRequest,
    limit: int,
    reserve: Callable[[int], None] = _unlimited,
    wait_s: Callable[[int], float] = _unpaced,
) -> bytes | bytearray:
    """Return the request's body as sent, at most `limit` bytes.

    `reserve` is called with the size of each part; `wait_s`, too, and returns after how many seconds to read the next.

    `100 Continue` is sent here only, after everything that can be rejected without a body.  Raises `Rejected`: too
    large, too slow, malformed (a broken chunk), or whatever `reserve` raises.
    """
    expectation = request.headers.get(hdrs.EXPECT)
    if expectation is not None:
        await _answer_expectation(request, expectation)
    if request.content.is_eof():  # there is none, or it has arrived by now
        whole = arrived_body(request, limit)
        reserve(len(whole))
        return whole
    body = bytearray()  # grows in place, where joining parts would need twice the memory
    failure = await _read_all(request.content, body, limit, reserve, wait_s)
    if failure is None:
        return body
    body.clear()
    try:
        raise failure
    finally:
        del failure  # its traceback holds this frame


async def _read_all(
    content: StreamReader,
    body: bytearray,
    limit: int,
    reserve: Callable[[int], None],
    wait_s: Callable[[int], float],
) -> Rejected | None:
    """Read a body as it arrives; returns why it could not be read, or None.

    A stream keeps the exception that ended it, and that its traceback, whose frames hold the stream: nothing that is
    large may hang on such a cycle, so the traceback is dropped.
    """
    waited_s = 0.0
    unpaced = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while not content.at_eof():
                part, is_chunk_end = await content.readchunk()
                if len(body) + len(part) > limit:
                    return too_large(limit)
                reserve(len(part))
                body += part
                unpaced += len(part) + is_chunk_end * _CHUNK_BYTES
                if unpaced >= _SLICE_BYTES:
                    delay_s = wait_s(unpaced)
                    unpaced = 0
                    waited_s += delay_s
                    await asyncio.sleep(delay_s)  # also 0: all that has arrived could be read in one turn of the loop
    except TimeoutError:
        return Rejected(Reason.BUFFER_FULL if waited_s > BODY_SECONDS / 2 else Reason.SLOW_CLIENT)
    except (web.RequestPayloadError, HttpProcessingError) as error:
        error.__traceback__ = None
        return Rejected(Reason.MALFORMED_HTTP)
    except ConnectionError as error:  # the client has gone
        error.__traceback__ = None
        return Rejected(Reason.CLIENT_GONE)
    except Rejected as rejected:
        return rejected
    return None


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


async def _answer_expectation(request: BaseRequest, expectation: str) -> None:
    if expectation.lower() != "100-continue":
        raise Rejected(Reason.EXPECTATION)
    if request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the response itself has not started

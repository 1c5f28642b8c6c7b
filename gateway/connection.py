"""One client's connection: aiohttp's protocol with Hitline's error bodies, and bounds on what its client may cost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.http import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestPayloadError, _ErrInfo
from aiohttp.web_request import BaseRequest
from aiohttp.web_server import Server

from gateway.accepted import Accepted
from gateway.connections import ConnectionLimits
from gateway.heads import (
    MAX_HEAD_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_LINE_BYTES,
    offers_unknown_protocol,
    rejection,
    size_of,
    unusable,
)
from gateway.replies import Reason, Rejected, error_response
from gateway.settings import KEEPALIVE_SECONDS
from gateway.unhandled import Unhandled
from gateway.unread import Unread
from shared import metrics

log = logging.getLogger(__name__)

#: aiohttp's server logger would log raw request lines and header values, which contain addresses and tokens.
_mute = logging.getLogger("hitline.muted")
_mute.disabled = True

#: Seconds within which the first request's head must be complete.
HEAD_SECONDS: Final = 30.0
#: Parsed requests that wait behind the one that is handled; nothing more is read meanwhile.
MAX_PIPELINED: Final = 2
#: What is buffered of a body before nothing more is read; a sixteenth of it is the most chunks that are parsed at once.
_BUFFER_BYTES: Final = 16 * 1024
#: How long what is not wanted is read and dropped, for the client to see its answer.
_LINGER_S: Final = 2.0


class Connection(web.RequestHandler):
    """aiohttp's protocol, stricter.

    Handles requests that can't be parsed and handlers that crash; the base class would log the request and quote it in
    a plain-text response.
    """

    __slots__ = (
        "_address", "_arriving", "_ended", "_limits", "_may_have_more", "_offered", "_refused", "_sent_all", "_silence",
        "_unhandled", "_unread",
    )  # fmt: skip

    def __init__(
        self,
        manager: Server,
        loop: asyncio.AbstractEventLoop,
        limits: ConnectionLimits,
        address: str,
        keepalive_s: float = KEEPALIVE_SECONDS,
    ) -> None:
        super().__init__(
            manager, loop=loop, logger=_mute, access_log=None, auto_decompress=False, lingering_time=0,  # type: ignore[arg-type]
            keepalive_timeout=keepalive_s, read_bufsize=_BUFFER_BYTES,
        )  # fmt: skip
        # One request at a time: those before a malformed one are answered, and the rest of a segment stays unparsed.
        self._parser = HttpRequestParser(
            self, loop, _BUFFER_BYTES, max_line_size=MAX_LINE_BYTES, max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS, payload_exception=RequestPayloadError, auto_decompress=False, max_msg_queue_size=1,
        )  # fmt: skip
        self._max_msg_queue_size = MAX_PIPELINED
        self._msg_queue_resume_size = 0
        self._limits = limits
        self._address = address
        #: The body that is arriving, or has arrived last.
        self._arriving: StreamReader = EMPTY_PAYLOAD
        self._unhandled = Unhandled(limits.unhandled, address)
        self._unread = Unread()
        self._may_have_more = False  # received bytes that the parser has kept for later
        # The newest request, which is not answered yet, offers a protocol that the parser does not know, such as h2c.
        # It is answered as if it did not (RFC 9110, section 7.8), but the parser loses what is behind it: if there is
        # any, the connection is closed, so that the client repeats it.
        self._offered = False
        self._refused = False  # nothing more is read
        self._sent_all = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timeout for the first request; aiohttp has one for later requests only."""
        super().connection_made(transport)
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._silence = self._loop.call_later(HEAD_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the timer, which would keep closed connections in memory until it fires, and give back all bytes."""
        self._limits.leave(self._address)
        self._unhandled.give_back_all()
        self._silence.cancel()
        self._end()
        # The base class would end it with an exception, whose traceback's frame holds this future: a cycle.
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)
        super().connection_lost(exc)
        if self._request_in_progress:  # what waits behind it would live as long as its handler
            self._messages.clear()
        self._arriving = EMPTY_PAYLOAD

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived; answer 431 or 503 to more than a client may have unhandled."""
        in_body = not self._arriving.is_eof()
        if self._offered and data and not in_body:
            self._refused = True
        if self._refused:
            self._drop(len(data))
            return
        received = self._arriving.total_bytes
        waiting = len(self._messages)
        began_here = not (in_body or waiting or self._unhandled.head or self._may_have_more)
        self._may_have_more = True
        super().data_received(data)
        if len(self._messages) > waiting:
            self._note_request(len(data))
            if began_here and data[:1].isalpha() and not self._refused:  # as nearly all do
                self._may_have_more = self._has_left(data)
        elif waiting or not in_body:
            self._unhandled.bytes += len(data)
            self._unhandled.head += 0 if in_body else len(data)
            if self._unhandled.head > MAX_HEAD_BYTES:
                self._refuse(Rejected(Reason.HEADERS_TOO_LARGE))
        if self._offered and self._arriving.is_eof():
            head = data.find(b"\r\n\r\n") + 4 if len(self._messages) > waiting else 0
            self._refused |= head + self._arriving.total_bytes - (0 if head else received) != len(data)
        if not self._refused and not self._unhandled.take():
            self._refuse(Rejected(Reason.BUFFER_FULL))

    def _note_request(self, size: int) -> None:
        """Note what the newest request, the last that `size` bytes were parsed for, takes."""
        message, self._arriving = self._messages[-1]
        if isinstance(message, _ErrInfo):
            # The traceback's frame holds the error's message, which holds the error: a cycle that keeps all of it.
            message.exc.__traceback__ = None
            self._refused = True
            return
        if reason := unusable(message):
            self._messages.pop()
            self._refuse(Rejected(reason))
            return
        self._offered = message.upgrade and offers_unknown_protocol(message)
        unhandled = self._unhandled
        earlier, unhandled.head = unhandled.head, 0
        complete = self._arriving.is_eof()
        if complete and earlier + size <= MAX_HEAD_BYTES:  # as nearly all are
            unhandled.bytes += size
            return
        head = size_of(message)
        unhandled.bytes += size if complete else max(0, head - earlier)  # its handler counts the body
        if head > MAX_HEAD_BYTES:
            self._messages.pop()
            self._refuse(Rejected(Reason.HEADERS_TOO_LARGE))

    def _has_left(self, data: bytes) -> bool:
        """Return whether the parser may have kept something behind the newest request.

        `data` does not begin within the end of a head: the first end in it is this request's.  A request to upgrade is
        over for the parser only when it is called again; it would drop what it is called with.
        """
        end = data.find(b"\r\n\r\n") + 4 + self._arriving.total_bytes
        message = self._messages[-1][0]
        return end != len(data) or not self._arriving.is_eof() or isinstance(message, _ErrInfo) or message.upgrade

    def _refuse(self, rejected: Rejected) -> None:
        """Answer an error behind the requests that wait, and read nothing more."""
        self._refused = True
        self._request_count += 1
        self._messages.append((_ErrInfo(rejected.reason.status, rejected, ""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a half-closed connection (`shutdown`, as `nc -N` does) open until its requests are answered.

        Returns that the connection stays open for writing: one that is idle is closed when its address's turn comes.
        """
        self._sent_all = True
        self.data_received(b"")  # what waits behind a request that is handled
        # aiohttp's loop has a `_waiter` only while it waits for a request; it has none while it handles one, even
        # before the handler has started.
        idle = self._waiter is not None or self._request_count == 0
        ended = not self._messages and (
            idle or not self._arriving.is_eof()
        )  # the rest of its body can't arrive any more
        self._limits.lane.call(self._address, self._close_transport if ended else self._end)
        if not ended and not self._messages:
            self._close = True
        return True

    def _close_transport(self) -> None:
        if self.transport is not None:
            self.transport.close()

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response, and parse what waits behind its request; close a half-closed connection after the last."""
        if self._may_have_more:
            self.data_received(b"")
            self._may_have_more = bool(self._messages) or not self._arriving.is_eof() or self._upgraded
        if not self._messages:
            self._offered = False
        if type(resp) is Accepted and self._is_usual(request, resp):
            self.transport.write(resp.as_bytes())  # type: ignore[union-attr]  # as `_is_usual` says
            self._note_answered()
            return resp, False
        resp.headers["Server"] = "hitline"  # aiohttp would name its version and Python's
        if not self._messages and (self._refused or not self._arriving.is_eof()):
            self._refused = True  # the rest of its body is not the next request
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self._note_answered()
        if self._sent_all and not self._messages:
            self._close = True
        if self._refused and not self._messages:
            await self._linger()
        return finished

    def _note_answered(self) -> None:
        self._unread.answers += 1
        if not self._messages:
            self._unhandled.give_back()

    def _is_usual(self, request: BaseRequest, resp: web.StreamResponse) -> bool:
        """Return whether an answer can be sent as it is, and the connection stays open."""
        return (
            self.transport is not None
            and not self.transport.is_closing()
            and request.version == HttpVersion11
            and request.keep_alive
            and resp.keep_alive is None
            and not self._refused
            and not self._sent_all
            and not self._paused  # a client that does not read what it is answered gets no more until it does
            and not self._upgraded  # aiohttp parses what is behind a request for a WebSocket in its own way only
            and self._arriving.is_eof()
        )

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Read on, where reading was paused or something waits to be parsed; aiohttp asks for it with each body."""
        if self._reading_paused or self._buffer_paused or (resume_parser and self._may_have_more):
            super().resume_reading(resume_parser)

    async def _linger(self) -> None:
        """Read, and drop, until the client has seen the answer: an early close would reset the connection."""
        if self._arriving.exception() is None:
            self._arriving.read_nowait()
        with contextlib.suppress(TimeoutError, OSError, RuntimeError):
            async with asyncio.timeout(_LINGER_S):
                if self.transport is not None:
                    self.transport.write_eof()
                await self._ended

    def _drop(self, size: int) -> None:
        """Drop bytes that arrived on a connection that is refused; more are read when its address's turn comes."""
        wait_s = self._limits.dropped.wait_s(self._address, size)
        if wait_s > 0 and self.transport is not None:
            self._pause_transport_reading()
            self._loop.call_later(min(wait_s, _LINGER_S), self._resume_transport_reading)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def start(self) -> None:
        """Handle requests until the connection ends; one that the base class fails on must not stay open for ever."""
        try:
            await super().start()
        except Exception as error:
            log.exception("a connection failed", exc_info=error)
            self.force_close()

    def _close_if_silent(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def abort_if_unread(self, transport: asyncio.Transport, now: float) -> None:
        """End a connection whose client does not read; called now and then."""
        if self._unread.is_given_up(transport, now):
            metrics.CONNECTIONS_UNREAD.inc()
            transport.abort()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes the request
    ) -> web.StreamResponse:
        """Return the response to a request that never reached a handler, or whose handler crashed."""
        rejected = rejection(status, exc)
        if rejected.reason is Reason.INTERNAL:
            log.error("a request handler failed", exc_info=exc)
        metrics.REJECTED.labels(rejected.reason.label).inc()
        if request.writer.output_size > 0:
            raise ConnectionError("part of the response was already sent")
        response = error_response(rejected)
        response.force_close()
        request._version = HttpVersion11  # aiohttp's stand-in for a request that can't be parsed says 1.0
        metrics.REQUESTS.labels(metrics.OTHER_ROUTE, response.status).inc()
        return response

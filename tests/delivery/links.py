"""Relays in front of a gateway, a broker and ClickHouse that cut, delay and repeat what goes through them.

They run in a thread and loop of their own, so that a test may block.  Between faults they pass on everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from tests.delivery.relay import Relay

#: What may happen to a request: the connection is cut before it is passed on, in the middle of its body, or before its
#: answer; it or its answer is late; it is passed on twice, one after the other or side by side.
HTTP_FAULTS: Final = ("cut before", "cut inside", "cut after", "late", "answer late", "twice", "twice at once")
#: What may happen to connections of AMQP: cut; all that is sent is held for a while; held and then lost, either way.
TCP_FAULTS: Final = ("cut", "requests held", "answers held", "requests lost", "answers lost")
_LONGEST_S: Final = 2.0
_HOP: Final = ("connection", "transfer-encoding", "content-length", "keep-alive", "host")


class HttpLink:
    """A reverse proxy before one HTTP server; `faults` are those that its requests may meet now."""

    def __init__(self, url: str, part: float = 0.5) -> None:
        """`part`: how many of the requests meet a fault while `faults` are set."""
        self._target = urlsplit(url)
        self._part = part
        self._session: aiohttp.ClientSession | None = None
        self.faults: Sequence[str] = ()
        self.met = Counter[str]()
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        runner = web.ServerRunner(web.Server(self._handle, auto_decompress=False), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        user = self._target.netloc.rpartition("@")[0]
        self.url = f"http://{user + '@' if user else ''}127.0.0.1:{runner.addresses[0][1]}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as self._session:
            yield
        await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        fault = random.choice(self.faults) if self.faults and random.random() < self._part else "none"
        self.met[fault] += 1
        try:
            answer = await self._with_fault(fault, request, body)
        except (aiohttp.ClientError, OSError):
            answer = None
        if answer is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()  # which goes nowhere
        return answer

    async def _with_fault(self, fault: str, request: web.BaseRequest, body: bytes) -> web.Response | None:
        """Pass the request on with what happens to it; None: the client's connection is cut."""
        if fault == "cut before":
            return None
        if fault == "cut inside":
            await self._send_half(request, body)
            return None
        if fault == "late":
            await asyncio.sleep(random.uniform(0, _LONGEST_S))
        if fault == "twice at once":
            answers = await asyncio.gather(self._pass(request, body), self._pass(request, body))
            return random.choice(answers)
        answer = await self._pass(request, body)
        if fault == "answer late":
            await asyncio.sleep(random.uniform(0, _LONGEST_S))
        if fault == "twice":
            answer = random.choice((answer, await self._pass(request, body)))
        return None if fault == "cut after" else answer

    async def _pass(self, request: web.BaseRequest, body: bytes) -> web.Response:
        assert self._session is not None
        url = URL(f"http://{self._target.netloc.rpartition('@')[2]}{request.raw_path}", encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]
        skip = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        sending = self._session.request(
            request.method, url, data=body or None, headers=headers, skip_auto_headers=skip, allow_redirects=False
        )
        async with sending as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
            return web.Response(status=answer.status, body=await answer.read(), headers=dict(kept))

    async def _send_half(self, request: web.BaseRequest, body: bytes) -> None:
        """Send the head and half of the body, and reset the connection."""
        host, _, port = self._target.netloc.rpartition("@")[2].partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = [f"{request.method} {request.raw_path} HTTP/1.1", f"Host: {host}:{port}"]
        head += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() not in _HOP]
        head += [f"Content-Length: {len(body)}", "", ""]
        writer.write("\r\n".join(head).encode() + body[: len(body) // 2])
        with contextlib.suppress(OSError):
            await writer.drain()
        await asyncio.sleep(random.uniform(0, 0.2))
        writer.transport.abort()


class TcpLink(Relay):
    """A relay before a broker, whose connections can meet faults."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.met = Counter[str]()

    async def meet(self, fault: str, seconds: float) -> None:
        """Have all connections meet a fault."""
        self.met[fault] += 1
        held = self.requests if fault.startswith("requests") else self.answers
        if fault != "cut":
            held.clear()
            await asyncio.sleep(seconds)
        if not fault.endswith("held"):
            self.cut()
        held.set()


@contextlib.contextmanager
def running(*links: HttpLink | TcpLink) -> Iterator[asyncio.AbstractEventLoop]:
    """Run links in a thread; yields their loop, in which `TcpLink.meet` has to be called."""
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for link in links:
                await stack.enter_async_context(link.running())
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)

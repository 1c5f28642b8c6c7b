"""Whoever opens many connections waits behind its own; the system's limit on files ends nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway import accept
from gateway.connections import ConnectionLimits
from gateway.http import JsonServer
from gateway.listen import listen

GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def serve(limits: ConnectionLimits) -> AsyncIterator[tuple[int, list[str]]]:
    """Yield the port, and the addresses of requests in the order in which they are handled."""
    asked: list[str] = []

    async def answer(request: BaseRequest) -> web.Response:
        asked.append(str(request.remote))
        return web.Response(text="")

    runner = web.ServerRunner(JsonServer(answer, limits), shutdown_timeout=1)
    await runner.setup()
    await listen(runner, limits, ["127.0.0.1"], 0)
    try:
        yield runner.addresses[0][1], asked
    finally:
        await runner.cleanup()


def connect(port: int, address: str, data: bytes = GET) -> socket.socket:
    """Connect, as far as the kernel does without the server, and send."""
    connection = socket.create_connection(("127.0.0.1", port), 60, (address, 0))
    connection.sendall(data)
    connection.setblocking(False)
    return connection


async def answered(connection: socket.socket) -> bytes:
    async with asyncio.timeout(60):
        return await asyncio.get_running_loop().sock_recv(connection, 1000)


async def test_an_address_that_opens_many_connections_is_served_in_turns_with_others() -> None:
    async with serve(ConnectionLimits(1000, 1000)) as (port, asked):
        with contextlib.ExitStack() as stack:
            many = [stack.enter_context(connect(port, "127.0.0.2")) for _ in range(100)]
            one = stack.enter_context(connect(port, "127.0.0.3"))
            assert (await answered(one)).startswith(b"HTTP/1.1 200 ")
            assert asked.index("127.0.0.3") < 10
            for each in many:
                assert (await answered(each)).startswith(b"HTTP/1.1 200 ")


async def test_connections_that_have_gone_before_they_are_started_are_given_back() -> None:
    limits = ConnectionLimits(1000, 1000)
    async with serve(limits) as (port, _):
        for _ in range(50):
            connect(port, "127.0.0.2", b"").close()
        async with asyncio.timeout(60):
            while limits.open or not limits.admit("127.0.0.2"):  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
        limits.leave("127.0.0.2")


@contextlib.contextmanager
def no_files_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))  # of those that are not open yet
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_files_left_it_says_so_and_accepts_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accept, "_PAUSE_S", 0.1)
    caplog.set_level(logging.ERROR)
    async with serve(ConnectionLimits(1000, 1000)) as (port, _):
        with connect(port, "127.0.0.2") as connection:
            with no_files_left():
                await asyncio.sleep(0.3)
            assert "cannot accept connections" in caplog.text
            assert 1 <= len(caplog.records) <= 5
            assert (await answered(connection)).startswith(b"HTTP/1.1 200 ")

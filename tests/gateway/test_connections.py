"""What a connection leaves behind."""

from __future__ import annotations

import asyncio
import gc

from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway.connection import Connection
from gateway.connections import ConnectionLimits
from gateway.http import JsonServer
from gateway.listen import listen


async def answer(_: BaseRequest) -> web.StreamResponse:
    return web.Response(text="")


def connections() -> int:
    gc.collect()
    return sum(isinstance(each, Connection) for each in gc.get_objects())


async def test_a_closed_connection_leaves_nothing_in_memory() -> None:
    limits = ConnectionLimits()
    runner = web.ServerRunner(JsonServer(answer, limits))
    await runner.setup()
    await listen(runner, limits, ["127.0.0.1"], 0)
    try:
        for _ in range(20):
            reader, writer = await asyncio.open_connection(*runner.addresses[0])
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
        async with asyncio.timeout(60):
            while connections():  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.05)
    finally:
        await runner.cleanup()


async def test_an_idle_connection_is_closed_after_the_time_that_is_set() -> None:
    limits = ConnectionLimits()
    runner = web.ServerRunner(JsonServer(answer, limits, keepalive_s=0.2))
    await runner.setup()
    await listen(runner, limits, ["127.0.0.1"], 0)
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        began = asyncio.get_running_loop().time()
        assert await asyncio.wait_for(reader.read(), 60) == b""
        assert asyncio.get_running_loop().time() - began > 0.15
        writer.close()
    finally:
        await runner.cleanup()

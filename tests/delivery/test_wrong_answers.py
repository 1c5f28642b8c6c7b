"""A proxy that answers in ClickHouse's place: what it says is never taken for a stored row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
import pytest
from aiohttp import web

from shared import queue
from tests import parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import System

ANSWERS = {
    "back soon": lambda: web.Response(text="<html>Back soon</html>", content_type="text/html"),
    "nothing": lambda: web.Response(status=HTTPStatus.NO_CONTENT),
    "elsewhere": lambda: web.Response(status=HTTPStatus.FOUND, headers={"Location": "/maintenance"}),
    "bad gateway": lambda: web.Response(status=HTTPStatus.BAD_GATEWAY, text="<html>Bad gateway</html>"),
}


class Front:
    """Passes on to ClickHouse what it is asked, or all but look-ups to `instead`."""

    def __init__(self, url: str) -> None:
        self._target = url
        self.instead: str | None = None
        self.answered = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path == "/maintenance":
            return web.Response(text="<html>Back soon</html>")
        if self.instead and b"INSERT" in body[:200]:
            self.answered += 1
            return ANSWERS[self.instead]()
        headers = {name: value for name, value in request.headers.items() if name in ("Content-Encoding", "User-Agent")}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(f"{self._target}/?{request.query_string}", data=body, headers=headers) as answer,
        ):
            told = {name: value for name, value in answer.headers.items() if name.startswith(("X-", "Content-E"))}
            return web.Response(status=answer.status, body=await answer.read(), headers=told)


@asynccontextmanager
async def running(front: Front) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", front.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port := parts.free_port())
        await site.start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("instead", ANSWERS)
async def test_what_a_proxy_answers_is_not_taken_for_a_stored_row(bare: System, instead: str) -> None:
    front, ledger = Front(bare.clickhouse.url), Ledger()
    async with running(front) as url:
        worker = await asyncio.to_thread(bare.add_worker, clickhouse_url=url)
        await faults.post_batches(bare, faults.make_pageviews(10), ledger)
        await faults.settled(bare, ledger)
        front.instead = instead
        await faults.post_batches(bare, faults.make_pageviews(10), ledger)
        await asyncio.to_thread(services.wait_for, lambda: front.answered >= 2, 15)
        front.instead = None
        await faults.assert_exact(bare, ledger, 30)
        assert await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE) == 0
        await asyncio.to_thread(worker.stop)

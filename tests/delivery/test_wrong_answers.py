"""A proxy that answers in ClickHouse's place: what it says is never taken for a stored row."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest
from aiohttp import web

from shared import queue
from tests import parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.front import Front, running
from tests.services import System

ANSWERS = {
    "back soon": lambda *_: web.Response(text="<html>Back soon</html>", content_type="text/html"),
    "nothing": lambda *_: web.Response(status=HTTPStatus.NO_CONTENT),
    "elsewhere": lambda *_: web.Response(status=HTTPStatus.FOUND, headers={"Location": "/maintenance"}),
    "bad gateway": lambda *_: web.Response(status=HTTPStatus.BAD_GATEWAY, text="<html>Bad gateway</html>"),
}

MEMORY = "Code: 241. DB::Exception: Memory limit (for query) exceeded. (MEMORY_LIMIT_EXCEEDED)"
TOO_LARGE = {
    "for a proxy": lambda: web.Response(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text="<h1>413</h1>"),
    "for ClickHouse's memory": lambda: web.Response(
        status=HTTPStatus.INTERNAL_SERVER_ERROR, text=MEMORY, headers={"X-ClickHouse-Exception-Code": "241"}
    ),
}


@pytest.mark.parametrize(
    "instead",
    ["back soon", "elsewhere", *(pytest.param(name, marks=pytest.mark.full) for name in ("nothing", "bad gateway"))],
)
async def test_a_proxys_answer_does_not_count_as_a_stored_row(bare: System, instead: str) -> None:
    front, ledger = Front(bare.clickhouse.url), Ledger()
    async with running(front) as url:
        worker = await asyncio.to_thread(bare.add_worker, clickhouse_url=url)
        await faults.post_batches(bare, faults.make_pageviews(10), ledger)
        await faults.settled(bare, ledger)
        front.instead = ANSWERS[instead]
        await faults.post_batches(bare, faults.make_pageviews(10), ledger)
        await asyncio.to_thread(services.wait_for, lambda: front.answered >= 2, 15)
        front.instead = None
        await faults.assert_exact(bare, ledger, 30)
        assert await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE) == 0
        await asyncio.to_thread(worker.stop)


@pytest.mark.parametrize("whose", ["for ClickHouse's memory", pytest.param("for a proxy", marks=pytest.mark.full)])
async def test_an_insert_that_stays_too_large_is_split(bare: System, whose: str) -> None:
    def within_20_kb(_: web.Request, body: bytes) -> web.Response | None:
        return TOO_LARGE[whose]() if len(body) > 20_000 else None

    front, ledger = Front(bare.clickhouse.url), Ledger()
    front.instead = within_20_kb
    async with running(front) as url:
        await faults.post_batches(bare, faults.make_pageviews(1_000), ledger)
        worker = await asyncio.to_thread(bare.add_worker, clickhouse_url=url)
        await faults.assert_exact(bare, ledger, 60)
        assert front.answered >= 3, "nothing was too large"
        assert faults.doubled(bare) == 0
        assert await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE) == 0
        await asyncio.to_thread(worker.stop)

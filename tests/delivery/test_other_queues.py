"""A queue that someone declared otherwise is said to be so; where it works at all, it is used."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from shared import queue
from tests import http, parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import System


async def declare(amqp_url: str, arguments: dict[str, Any]) -> None:
    await parts.delete_queue(amqp_url, queue.QUEUE)
    async with await queue.connect([amqp_url], "hitline tests") as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue.QUEUE, durable=True, arguments=arguments)
        await declared.bind(queue.EXCHANGE, queue.PAGEVIEWS)


@pytest.fixture
def other(bare: System, request: pytest.FixtureRequest) -> Iterator[System]:
    parts.run_apart(lambda: declare(bare.broker.amqp_url, request.param))
    bare.add_worker()
    yield bare
    bare.end()
    parts.run_apart(lambda: parts.delete_queue(bare.broker.amqp_url, queue.QUEUE))


@pytest.mark.parametrize("other", [{}, {**queue.QUEUE_ARGUMENTS, "x-delivery-limit": 20}], indirect=True)
async def test_a_queue_that_works_is_used(other: System) -> None:
    ledger = Ledger()
    other.gateway.stop()
    other.gateway.start()
    await asyncio.to_thread(services.wait_for, lambda: http.ready(other.gateway.admin_port))
    await faults.post_batches(other, faults.make_pageviews(100), ledger)
    await faults.assert_exact(other, ledger)
    for process in (other.gateway, other.workers[0]):
        await asyncio.to_thread(services.wait_for, lambda: "differs from what Hitline declares (x-" in process.text())  # noqa: B023


@pytest.mark.parametrize("other", [{"x-queue-type": "stream"}], indirect=True)
async def test_a_stream_is_no_crash_loop(other: System) -> None:
    """Nobody consumes from a stream by priority: what is accepted waits in it, and the worker tries now and then."""
    worker = other.workers[0]
    await asyncio.to_thread(services.wait_for, lambda: "of queue type rabbit_stream_queue" in worker.text())
    await asyncio.sleep(4)
    assert len(re.findall("connected, consuming", worker.text())) <= 8
    assert worker.text().count("invalid arg 'x-priority'") == 1
    assert "differs from what Hitline declares (x-" in worker.text()
    assert worker.running

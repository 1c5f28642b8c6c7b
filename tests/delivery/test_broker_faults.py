"""A broker that restarts, closes channels and cancels consumers; one queue deleted and declared again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.rabbitmq import RabbitMQNode
from shared import queue
from tests import parts, services
from tests.delivery import faults, test_backlog
from tests.delivery.faults import Ledger
from tests.services import System


@pytest.fixture
def fragile(tables: parts.ClickHouseProcess, tmp_path: Path) -> Iterator[System]:
    """A system with its own broker."""
    node = RabbitMQNode(tmp_path / "fragile")
    node.start()
    parts.run_apart(lambda: parts.empty_queues(node.amqp_url))
    node.sync_new_queues()
    try:
        with services.system(tables, node, tmp_path) as running:
            yield running
    finally:
        node.stop()


@pytest.mark.full
async def test_a_killed_broker_an_ended_channel_and_a_new_queue(fragile: System) -> None:
    ledger = Ledger()
    worker = fragile.workers[0]
    with faults.slow_inserts(fragile, 1):  # so that each fault meets a batch that is being written
        for fault in (kill_broker, close_connections):
            await faults.post_batches(fragile, faults.make_pageviews(500), ledger, size=50)
            await asyncio.to_thread(fault, fragile)
            await faults.settled(fragile, ledger)
    await asyncio.to_thread(new_queue, fragile)
    await faults.post_batches(fragile, faults.make_pageviews(500), ledger, size=50)

    await faults.assert_exact(fragile, ledger)
    assert faults.doubled(fragile) == 0
    assert worker.running
    assert worker.text().count("broker: connected") >= 4


def kill_broker(system: System) -> None:
    system.broker.kill()
    system.broker.start()


def close_connections(system: System) -> None:
    system.broker.ctl("close_all_connections", "a test")


def new_queue(system: System) -> None:
    """Delete the queue, which cancels its consumers, and have it declared again."""
    parts.run_apart(lambda: parts.delete_queue(system.broker.amqp_url, queue.QUEUE))
    services.wait_for(lambda: "cancelled the consumer" in system.workers[0].text())
    services.hitline(system.env, "migrate", "--no-clickhouse")


@pytest.mark.full
async def test_abandoned_batches_leave_no_memory_behind(fragile: System) -> None:
    """Twenty channels lost with full hands while ClickHouse is away, as in an outage of half a day."""
    worker = fragile.workers[0]
    fragile.clickhouse.kill()
    try:
        await test_backlog.fill(fragile, 100_000)
        sizes = []
        for number in range(20):
            await asyncio.sleep(4)
            sizes.append(round(worker.resident_mib()))
            await asyncio.to_thread(close_connections, fragile)
            if number % 5 == 4:
                print(f"  {number + 1} channels lost: {sizes} MiB", flush=True)
    finally:
        fragile.clickhouse.start()
    await asyncio.to_thread(fragile.wait_for_outcomes, 100_000)
    assert fragile.outcomes() == {"stored": 100_000}
    assert max(sizes[10:]) < 1.2 * max(sizes[:5])

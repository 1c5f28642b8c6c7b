"""A cluster of three brokers whose leader is killed, and everything killed together."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.rabbitmq import RabbitMQNode
from tests import parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import System

WORKERS = 2


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[RabbitMQNode]]:
    """Three private nodes that are one cluster, with Hitline's queues on all of them."""
    first = RabbitMQNode(tmp_path / "one", "one")
    nodes = [first]
    try:
        first.start()
        for name in ("two", "three"):
            node = first.sibling(tmp_path / name, name)
            node.start()
            node.join(first)
            nodes.append(node)
        parts.run_apart(lambda: parts.empty_queues(first.amqp_url))
        first.sync_new_queues()
        yield nodes
    finally:
        for node in nodes:
            node.stop()


@pytest.fixture
def clustered(tables: parts.ClickHouseProcess, cluster: list[RabbitMQNode], tmp_path: Path) -> Iterator[System]:
    urls = " ".join(node.amqp_url for node in cluster)
    with services.system(tables, cluster[0], tmp_path, workers=WORKERS, amqp_url=urls, confirm_seconds="10") as running:
        yield running


def leader(nodes: list[RabbitMQNode]) -> RabbitMQNode:
    """Return the node that leads `hitline.pageviews` now, by the word of one that lives."""

    def look() -> list[RabbitMQNode]:
        asked = random.choice([node for node in nodes if node.running])
        try:
            listed = asked.ctl("list_queues", "name", "leader", "--quiet", timeout_s=20)
        except Exception:  # noqa: BLE001 - an election is under way
            return []
        found = re.search(r"^hitline\.pageviews\s+(\S+)$", listed, re.MULTILINE)
        return [node for node in nodes if found and node.name == found[1] and node.running]

    return services.wait_for(look, 60)[0]


@pytest.mark.full
async def test_the_leader_killed_five_times(clustered: System, cluster: list[RabbitMQNode]) -> None:
    ledger, done = Ledger(), asyncio.Event()
    posting = asyncio.create_task(faults.stream(clustered, ledger, done, 60_000, 1_000))
    with faults.no_merges(clustered):
        for number in range(5):
            await asyncio.sleep(random.uniform(3, 5))
            node = await asyncio.to_thread(leader, cluster)
            node.kill()
            print(f"  kill {number + 1}: {node.name}, {len(ledger.accepted)} accepted", flush=True)
            await asyncio.sleep(3)
            await asyncio.to_thread(node.start)
        done.set()
        await posting
        clustered.broker = await asyncio.to_thread(leader, cluster)
        await faults.assert_exact(clustered, ledger)
        assert faults.doubled(clustered) == 0


@pytest.mark.full
async def test_a_worker_clickhouse_and_a_broker_killed_together(clustered: System, cluster: list[RabbitMQNode]) -> None:
    ledger, done = Ledger(), asyncio.Event()
    posting = asyncio.create_task(faults.stream(clustered, ledger, done, 20_000, 1_000))
    await asyncio.sleep(3)
    for _ in range(2):
        node = await asyncio.to_thread(leader, cluster)
        await asyncio.to_thread(faults.running_inserts, clustered)
        clustered.workers[0].kill()
        clustered.clickhouse.kill()
        node.kill()
        print(f"  killed: a worker, ClickHouse, {node.name}; {len(ledger.accepted)} accepted", flush=True)
        await asyncio.sleep(2)
        await asyncio.gather(
            asyncio.to_thread(node.start),
            asyncio.to_thread(clustered.clickhouse.start),
            asyncio.to_thread(clustered.workers[0].start),
        )
        parts.execute(clustered.clickhouse, "SYSTEM STOP MERGES hitline.pageviews_raw")
        await asyncio.sleep(3)
    done.set()
    await posting
    clustered.broker = await asyncio.to_thread(leader, cluster)
    await faults.assert_exact(clustered, ledger)
    assert faults.doubled(clustered) == 0
    parts.execute(clustered.clickhouse, "SYSTEM START MERGES hitline.pageviews_raw")

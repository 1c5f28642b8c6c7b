"""Workers on a cluster of two real replicas, through everything that can happen to one: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import pytest

from deploy.local.rabbitmq import RabbitMQNode
from tests import parts, services
from tests.cluster.cluster import CLUSTER, Cluster
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import System

pytestmark = [pytest.mark.full, pytest.mark.processes]

#: Longer than a replica's session with ZooKeeper, and than a worker's longest pause.
_FAULT_S = 12.0


@pytest.fixture
def on_cluster(cluster: Cluster, queues: RabbitMQNode, tmp_path: Path) -> Iterator[System]:
    """A gateway and two workers, each beginning with another replica."""
    first, second = cluster.urls
    settings = {"clickhouse_cluster": CLUSTER, "flush_rows": "300"}
    with services.system(
        cluster.replicas[0], queues, tmp_path, workers=0, clickhouse_url=f"{first} {second}", **settings
    ) as system:
        system.add_worker()
        system.add_worker(clickhouse_url=f"{second} {first}")
        yield system


def nothing(_: Cluster) -> Callable[[], None]:
    return lambda: None


def cut_off(cluster: Cluster) -> Callable[[], None]:
    """Neither replica can fetch what the other has: 319."""
    for replica in cluster.replicas:
        replica.cut.touch()

    def mend() -> None:
        for replica in cluster.replicas:
            replica.cut.unlink()

    return mend


def kill_one(cluster: Cluster) -> Callable[[], None]:
    """One replica is gone, also with what it had alone: 285."""
    cluster.replicas[1].kill()

    def mend() -> None:
        cluster.replicas[1].start()

    return mend


def cut_off_and_kill(cluster: Cluster) -> Callable[[], None]:
    """The one that died has rows that no other replica ever fetched."""
    replica = cluster.replicas[1]
    replica.cut.touch()
    time.sleep(2)
    replica.kill()

    def mend() -> None:
        replica.cut.unlink()
        replica.start()

    return mend


def kill_zookeeper(cluster: Cluster) -> Callable[[], None]:
    """Both are read-only: 242, 999."""
    cluster.zookeeper.kill()
    return cluster.zookeeper.start


@pytest.mark.parametrize("fault", [nothing, cut_off, kill_one, cut_off_and_kill, kill_zookeeper])
async def test_what_was_accepted_is_on_both_replicas(
    cluster: Cluster, on_cluster: System, fault: Callable[[Cluster], Callable[[], None]]
) -> None:
    ledger, until = Ledger(), asyncio.Event()
    posting = asyncio.create_task(faults.stream(on_cluster, ledger, until, 1_000, 100))
    await asyncio.sleep(3)
    mend = await asyncio.to_thread(fault, cluster)
    await asyncio.sleep(_FAULT_S)
    await asyncio.to_thread(mend)
    await asyncio.sleep(2)
    until.set()
    await posting
    await asyncio.to_thread(services.wait_for, lambda: _stored(cluster) == [ledger.accepted] * 2, 180)
    await faults.assert_exact(on_cluster, ledger)


def _stored(cluster: Cluster) -> list[set[str]]:
    found = []
    for replica in cluster.replicas:
        with suppress(URLError, OSError):
            found.append(set(parts.execute(replica, "SELECT page_id FROM hitline.pageviews FORMAT TSV").split()))
    return found


@pytest.fixture(autouse=True)
def _empty(cluster: Cluster) -> None:
    for table in ("pageviews_raw", "outcomes_raw"):
        parts.execute(cluster.replicas[0], f"TRUNCATE TABLE hitline.{table} SETTINGS alter_sync = 2")

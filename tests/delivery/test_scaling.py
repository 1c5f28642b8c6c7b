"""Workers are added to a backlog and taken away again: the drain rate follows their number, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import yaml

from deploy.local.clickhouse.process import ClickHouseProcess
from shared import queue
from tests import parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.deploy.observability.watched import broker_with_metrics
from tests.deploy.observe.instance import manage
from tests.services import System

_SCALING = Path(__file__).parents[2] / "deploy" / "k8s" / "base" / "worker-scaling.yaml"
#: So long an insert takes, and so many rows it has: a worker waits for ClickHouse rather than for a core.
_INSERT_S = 1.0
_ROWS = 100
_MOST = 4
_BACKLOG = 12_000
_MEASURED_S = 10.0


@pytest.fixture
def scaled(tables: ClickHouseProcess, tmp_path: Path) -> Iterator[tuple[System, str]]:
    """A system without workers, and the address of its broker's management API."""
    with broker_with_metrics(tmp_path / "broker") as (node, _, management):
        at = urlsplit(node.amqp_url)
        with services.system(tables, node, tmp_path, workers=0, flush_rows=str(_ROWS)) as running:
            yield running, f"http://{at.username}:{at.password}@127.0.0.1:{management}"


def keda_sees(api: str) -> int:
    """Return what KEDA's scaler finds: protocol http, mode QueueLength, with what is not acknowledged.

    It asks for the queue by name in the virtual host of the address, and takes `messages`, else `messages_ready`.
    """
    scaled = next(iter(yaml.safe_load_all(_SCALING.read_text("utf-8"))))
    told = scaled["spec"]["triggers"][0]["metadata"]
    assert (told["protocol"], told["mode"]) == ("http", "QueueLength")
    found = manage(api, "GET", f"/queues/{quote('/', safe='')}/{told['queueName']}")
    return int(found["messages_ready" if told["excludeUnacknowledged"] == "true" else "messages"])


def stored(system: System) -> int:
    return services.count(system.clickhouse, "pageviews_raw")


def rate(system: System) -> float:
    """Return the pageviews stored a second, over `_MEASURED_S`."""
    began, before = time.monotonic(), stored(system)
    time.sleep(_MEASURED_S)
    return (stored(system) - before) / (time.monotonic() - began)


@pytest.mark.full
async def test_each_worker_more_drains_faster_and_each_less_loses_nothing(scaled: tuple[System, str]) -> None:
    system, api = scaled
    ledger = Ledger()
    await faults.post_batches(system, faults.make_pageviews(_BACKLOG), ledger, size=20)
    messages = await parts.depth(system.broker.amqp_url, queue.QUEUE)
    await asyncio.to_thread(services.wait_for, lambda: keda_sees(api) == messages)

    rates = []
    with faults.slow_inserts(system, _INSERT_S):
        for number in range(1, _MOST + 1):
            await asyncio.to_thread(system.add_worker)
            await asyncio.to_thread(services.wait_for, lambda: len(faults.running_inserts(system)) > 0)
            await asyncio.sleep(3)
            rates.append(await asyncio.to_thread(rate, system))
            if number == 1:
                ready = await parts.depth(system.broker.amqp_url, queue.QUEUE)
                await asyncio.to_thread(services.wait_for, lambda ready=ready: keda_sees(api) > ready)
        left = len(ledger.accepted) - stored(system)
        print(f"\ndrained a second, by workers: {', '.join(f'{each:.0f}' for each in rates)}; {left} left")
        assert left > 0, "the backlog was too short to measure by"
        for worker in system.workers[1:]:
            assert await asyncio.to_thread(worker.stop) == 0
    # Twice and four times as much, less what a machine with two cores that others use has not got.
    assert rates[1] > rates[0] * 1.3
    assert max(rates) > rates[0] * 2
    await faults.assert_exact(system, ledger)

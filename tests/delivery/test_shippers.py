"""Log shippers at their defaults, through outages of gateway and broker: each line is one row."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from deploy.local.rabbitmq import RabbitMQNode
from tests import parts, services, shippers
from tests.services import System

Outage = Callable[[System], threading.Thread]
KINDS = {"Fluent Bit": shippers.FLUENT_BIT, "Vector": shippers.VECTOR}


@pytest.fixture(scope="module")
def fragile(
    clickhouse: parts.ClickHouseProcess,
    mortal_broker: RabbitMQNode,
    _schema: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    """A system whose parts may be killed."""
    parts.empty_tables(clickhouse)
    with services.system(clickhouse, mortal_broker, tmp_path_factory.mktemp("shippers")) as running:
        yield running


async def test_each_of_3000_lines_of_fluent_bit_is_one_row(fragile: System) -> None:
    await prove(fragile, shippers.FLUENT_BIT, 3_000, {0: restart_gateway, 1: restart_broker})


async def test_each_of_3000_lines_of_vector_is_one_row(fragile: System) -> None:
    await prove(fragile, shippers.VECTOR, 3_000, {0: restart_gateway, 1: restart_gateway})


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_each_of_100000_lines_is_one_row(fragile: System, kind: shippers.Kind) -> None:
    await prove(fragile, kind, 100_000, {0: restart_broker, 2: restart_gateway, 3: restart_broker, 5: restart_gateway})


async def prove(system: System, kind: shippers.Kind, number: int, outages: dict[int, Outage]) -> None:
    marker = uuid.uuid4().hex
    lines = shippers.lines_of([line(marker, index) for index in range(number)])
    restarts: list[threading.Thread] = []

    def begin(outage: Outage) -> None:
        restarts.append(outage(system))

    faults: dict[int, Callable[[], None]] = {chunk: partial(begin, outage) for chunk, outage in outages.items()}
    shipped = await asyncio.to_thread(shippers.ship, kind, system.port, system.token, lines, faults)
    for restart in restarts:
        await asyncio.to_thread(restart.join)

    good = sum(is_good(index) for index in range(number))
    where = f"startsWith(path, '/{marker}/')"
    await asyncio.to_thread(
        services.wait_for, lambda: services.count(system.clickhouse, where=where) >= good, 120 + number / 500
    )
    assert services.count(system.clickhouse, where=where) == good
    paths = f"SELECT uniqExact(path) AS number FROM hitline.pageviews WHERE {where}"
    assert services.rows(system.clickhouse, paths)[0]["number"] == good
    assert shipped.dropped == 0
    assert len([status for status in shipped.attempts if not 200 <= status < 300]) >= len(outages)
    print(f"{number} lines, attempts: {shipped.attempts}")


def is_good(index: int) -> bool:
    return index % 6 != 5


def line(marker: str, index: int) -> dict[str, Any]:
    address = "198.51.100.23" if is_good(index) else "unknown"
    url = f"https://example.com/{marker}/{index}"
    return services.pageview(url=url, visitor_ip=address, page_id=str(uuid.uuid4()))


def restart_gateway(system: System) -> threading.Thread:
    """Kill the gateway, and start it again meanwhile."""
    system.gateway.kill()
    return _begun(system.gateway.start)


def restart_broker(system: System) -> threading.Thread:
    system.broker.kill()
    return _begun(system.broker.start)


def _begun(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread

"""Every 202 is one row while the broker goes away and comes back, and no row comes from nowhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from tests import load, parts, services
from tests.services import System


@pytest.fixture
def fragile(tables: ClickHouseProcess, mortal_broker: RabbitMQNode, tmp_path: Path) -> Iterator[System]:
    """A system whose broker may be stopped."""
    parts.run_apart(lambda: parts.empty_queues(mortal_broker.amqp_url))
    with services.system(tables, mortal_broker, tmp_path, confirm_seconds="2") as running:
        yield running


async def test_every_202_is_one_row_through_an_outage(fragile: System) -> None:
    await prove(fragile, pageviews=1_000, outages=1)


@pytest.mark.full
async def test_every_202_is_one_row_through_five_outages_of_200_000(fragile: System) -> None:
    await prove(fragile, pageviews=200_000, outages=5)


async def prove(system: System, pageviews: int, outages: int) -> None:
    posted = [services.pageview(**services.ids()) for _ in range(pageviews)]
    ledger = load.Ledger()
    posting = asyncio.create_task(post_until_answered(system, posted, ledger))
    await asyncio.to_thread(fail, system.broker, outages, ledger, pageviews)
    await posting

    unknown = list(ledger.unknown)
    print(f"{len(ledger.accepted)} accepted, {len(unknown)} unknown, {len(ledger.refused)} times refused")
    assert {status for status, _ in ledger.refused} <= {503}
    await repeat_until_accepted(system, unknown)

    await asyncio.to_thread(services.wait_for, lambda: count_distinct(system) >= pageviews, 120)
    assert page_ids(system) == {each["page_id"] for each in posted}
    assert services.count(system.clickhouse) == pageviews
    twice = services.count(system.clickhouse, "pageviews_raw") - pageviews
    assert 0 <= twice <= len(unknown), "more rows than pageviews that were posted again"


def fail(broker: RabbitMQNode, outages: int, ledger: load.Ledger, pageviews: int) -> None:
    """Stop and kill the broker in turn, spread over the stream."""
    for outage in range(outages):
        due = pageviews * (outage + 1) // (outages + 2)
        services.wait_for(lambda due=due: len(ledger.accepted) >= due, 600)
        broker.kill() if outage % 2 else broker.stop()
        time.sleep(1)
        broker.start()
        print(f"outage {outage + 1} of {outages} at {len(ledger.accepted)} accepted")


async def post_until_answered(system: System, pageviews: list[dict[str, str]], ledger: load.Ledger) -> None:
    """Post from 100 connections; what is refused is posted again after a while, as its answer says."""
    waiting = iter(pageviews)

    async def poster(session: load.aiohttp.ClientSession) -> None:
        for pageview in waiting:
            while await refused(session, pageview, ledger):  # noqa: ASYNC110
                await asyncio.sleep(1)

    async with load.session(system.port, system.token, 100) as session:
        await asyncio.gather(*(poster(session) for _ in range(100)))


async def refused(session: load.aiohttp.ClientSession, pageview: dict[str, str], ledger: load.Ledger) -> bool:
    """Post a pageview; tells whether it was certainly not taken."""
    before = len(ledger.unknown)
    status = await load.post(session, load.ENDPOINT, pageview, ledger)
    return status == 503 and pageview not in ledger.unknown[before:]


async def repeat_until_accepted(system: System, pageviews: list[dict[str, str]]) -> None:
    for _ in range(20):
        ledger = await load.post_all(system.port, system.token, pageviews, in_flight=50)
        pageviews = [each for each in pageviews if each["page_id"] not in ledger.page_ids]
        if not pageviews:
            return
        await asyncio.sleep(1)
    raise AssertionError(f"{len(pageviews)} pageviews were never accepted")


def count_distinct(system: System) -> int:
    return int(parts.execute(system.clickhouse, "SELECT uniqExact(page_id) FROM hitline.pageviews_raw"))


def page_ids(system: System) -> set[str]:
    return {row["page_id"] for row in services.rows(system.clickhouse, "SELECT page_id FROM hitline.pageviews")}

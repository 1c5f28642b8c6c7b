"""ClickHouse killed, away, slow, read-only, full, overwhelmed: nothing lost, doubled or dead-lettered."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from shared import queue
from tests import parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import System

TABLE = "ALTER TABLE hitline.pageviews_raw"
#: What makes ClickHouse refuse inserts, and what ends it.
TROUBLES = {
    "read-only": ("MODIFY SETTING table_readonly = 1", "MODIFY SETTING table_readonly = 0"),
    "disk full": (
        "MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1000000000000000",
        "RESET SETTING min_free_disk_bytes_to_perform_insert",
    ),
    "too many parts": (
        "MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1",
        "RESET SETTING parts_to_throw_insert, parts_to_delay_insert",
    ),
    "a forgotten migration": ("RENAME COLUMN qr_id TO qr", "RENAME COLUMN qr TO qr_id"),
}


async def test_clickhouse_that_refuses_inserts_is_waited_for(bare: System) -> None:
    worker = bare.add_worker()
    ledger = Ledger()
    await faults.post_batches(bare, faults.make_pageviews(200), ledger)
    for name, (begin, end) in TROUBLES.items():
        parts.execute(bare.clickhouse, f"{TABLE} {begin}")
        try:
            before = retries(worker)
            await faults.post_batches(bare, faults.make_pageviews(200), ledger)
            await asyncio.to_thread(services.wait_for, lambda before=before: retries(worker) > before + 1)
        finally:
            parts.execute(bare.clickhouse, f"{TABLE} {end}")
        print(f"{name}: retried")
    await faults.assert_exact(bare, ledger)
    assert await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE) == 0
    assert faults.doubled(bare) == 0


def retries(worker: services.Service) -> float:
    text = services.http.request(worker.admin_port, "GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith("hitline_insert_retries_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def test_clickhouse_killed_inside_an_insert_over_many_months(bare: System) -> None:
    await prove_kills(bare, kills=1, pageviews=2_000, per_second=1_500)


@pytest.mark.full
async def test_clickhouse_killed_ten_times(bare: System) -> None:
    await prove_kills(bare, kills=10, pageviews=100_000, per_second=1_500)


async def prove_kills(system: System, kills: int, pageviews: int, per_second: float) -> None:
    """Kill at random moments, and every other time while an insert over 60 months is running on the server."""
    ledger, done = Ledger(), asyncio.Event()
    for _ in range(2):
        system.add_worker()
    posting = asyncio.create_task(faults.stream(system, ledger, done, pageviews, per_second))
    for number in range(kills):
        if number % 2 == 0:
            await faults.post_batches(system, over_60_months(600), ledger, size=600)
            await asyncio.to_thread(in_an_insert, system)
        else:
            await asyncio.sleep(random.uniform(0.2, 1.5))
        system.clickhouse.kill()
        await asyncio.sleep(random.uniform(0.2, 2))
        await asyncio.to_thread(system.clickhouse.start)
        parts.execute(system.clickhouse, "SYSTEM STOP MERGES hitline.pageviews_raw")
        print(f"  kill {number + 1}: {services.count(system.clickhouse, 'pageviews_raw')} rows", flush=True)
    done.set()
    await posting
    assert not ledger.not_202, "the gateway does not need ClickHouse"
    await faults.assert_exact(system, ledger)
    assert faults.doubled(system) == 0
    assert await parts.depth(system.broker.amqp_url, queue.DEAD_QUEUE) == 0
    print(f"  {in_two_goes(system)} messages were written in part before a kill, and the rest of them after it")
    parts.execute(system.clickhouse, "SYSTEM START MERGES hitline.pageviews_raw")


def in_two_goes(system: System) -> int:
    sql = "SELECT batch_id FROM hitline.pageviews_raw GROUP BY batch_id HAVING uniqExact(stored_at) > 1"
    return int(parts.execute(system.clickhouse, f"SELECT count() FROM ({sql})"))


def over_60_months(count: int) -> list[dict[str, object]]:
    return faults.make_pageviews(count, lambda n: datetime(2015 + n % 60 // 12, n % 12 + 1, 1 + n % 28, tzinfo=UTC))


def in_an_insert(system: System) -> None:
    """Return while an insert is under way on the server, and some of the months may be written."""
    with contextlib.suppress(TimeoutError):
        services.wait_for(lambda: faults.running_inserts(system), 10)
    time.sleep(random.uniform(0, 0.1))


@pytest.fixture
def impatient(bare: System) -> Iterator[System]:
    """A broker that closes a channel whose messages are not acknowledged within 70 s (it looks once a minute)."""
    set_timeout = "application:set_env(rabbit, consumer_timeout, {})."
    bare.broker.ctl("eval", set_timeout.format(70_000))
    yield bare
    bare.broker.ctl("eval", set_timeout.format(1_800_000))


@pytest.mark.full
async def test_clickhouse_away_for_longer_than_the_consumer_timeout(impatient: System) -> None:
    system, ledger, done = impatient, Ledger(), asyncio.Event()
    worker = system.add_worker()
    posting = asyncio.create_task(faults.stream(system, ledger, done, 40_000, 200))
    await asyncio.sleep(2)
    system.clickhouse.kill()
    began, closed, most_mib = time.monotonic(), 0, 0.0
    while time.monotonic() - began < 200:
        await asyncio.sleep(10)
        closed, most_mib = worker.text().count("longer than its consumer"), max(most_mib, worker.resident_mib())
        print(
            f"  {time.monotonic() - began:.0f} s: {len(ledger.accepted)} accepted, {most_mib:.0f} MiB,"
            f" {closed} channels closed",
            flush=True,
        )
    assert closed, "the broker was to close the channel"
    await asyncio.to_thread(system.clickhouse.start)
    done.set()
    await posting
    assert not ledger.not_202
    await faults.assert_exact(system, ledger)
    assert faults.doubled(system) == 0
    assert await parts.depth(system.broker.amqp_url, queue.DEAD_QUEUE) == 0


async def test_batches_grow_to_the_limit_while_inserts_are_slow(bare: System) -> None:
    await prove_slow(bare, pageviews=6_000, flush_rows=2_000, insert_s=2)


@pytest.mark.full
async def test_batches_grow_to_the_limit_while_inserts_take_5_s(bare: System) -> None:
    await prove_slow(bare, pageviews=200_000, flush_rows=20_000, insert_s=5)


async def prove_slow(system: System, pageviews: int, flush_rows: int, insert_s: float) -> None:
    ledger = Ledger()
    with faults.slow_inserts(system, insert_s):
        worker = system.add_worker(flush_rows=str(flush_rows))
        await faults.post_batches(system, faults.make_pageviews(pageviews), ledger)
        await faults.assert_exact(system, ledger, 300)
    sizes = batch_sizes(system)
    print(f"  batches of {sizes} rows, {retries(worker):.0f} retries, {worker.resident_mib():.0f} MiB")
    assert retries(worker) == 0
    assert sum(size >= flush_rows for size in sizes) >= pageviews // flush_rows - 2
    assert not ledger.not_202


def batch_sizes(system: System) -> list[int]:
    sql = "SELECT count() AS rows FROM hitline.pageviews_raw GROUP BY stored_at ORDER BY stored_at"
    return [int(each["rows"]) for each in services.rows(system.clickhouse, sql)]

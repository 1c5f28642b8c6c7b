"""A large backlog: drained with flat memory, and faster by two workers than by one."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Iterator

import aio_pika
import pytest

from shared import message, queue
from shared.message import Headers
from shared.pageview import join, pack
from shared.seal import Sealer
from tests import parts, services
from tests.delivery import faults, poison_kinds
from tests.services import System

LARGE = 500
#: Of each backlog this share comes in messages of one pageview each, as a quiet gateway publishes them.
SINGLES = 0.05
IN_FLIGHT = 200


async def test_a_backlog_of_small_and_large_messages_is_drained(bare: System) -> None:
    await fill(bare, 10_000)
    rate, most_mib, _ = await drain(bare, 10_000, workers=1)
    print(f"\n  {rate:.0f} pageviews/s, at most {most_mib:.0f} MiB")
    assert exact(bare, 10_000)
    assert most_mib < 500


async def test_a_backlog_of_the_largest_pageviews_takes_no_more_memory(bare: System) -> None:
    """Some 60 KiB each, which compress to a few hundred bytes: together as much as a worker may have."""
    await fill(bare, 8_000, largest)
    _, most_mib, _ = await drain(bare, 8_000, workers=1)
    print(f"\n  at most {most_mib:.0f} MiB")
    assert exact(bare, 8_000)
    assert most_mib < 500


@pytest.mark.full
async def test_two_workers_drain_faster_than_one(bare: System) -> None:
    """Where each insert takes a second on the server, so that workers and not this machine's cores are the limit."""
    rates = {}
    total = 0
    with faults.slow_inserts(bare, 1):
        for workers in (1, 2):
            total += 300_000
            await fill(bare, 300_000)
            rates[workers], _, _ = await drain(bare, total, workers)
            print(f"  {workers} workers: {rates[workers]:.0f} pageviews/s", flush=True)
    assert exact(bare, total)
    assert rates[2] > rates[1]


@pytest.mark.full
async def test_a_million_by_one_worker_and_another_by_two(bare: System) -> None:
    """As fast as this machine goes; with two cores for workers, broker and ClickHouse one worker takes them all."""
    total = 0
    for workers in (1, 2):
        total += 1_000_000
        await fill(bare, 1_000_000)
        rate, most_mib, samples = await drain(bare, total, workers)
        half = len(samples) // 2
        print(
            f"  {workers} workers: {rate:.0f} pageviews/s, at most {most_mib:.0f} MiB a worker"
            f" (first half {max(samples[:half]):.0f}, second {max(samples[half:]):.0f})"
        )
        assert most_mib < 500
    assert exact(bare, total)


@pytest.mark.full
async def test_two_million_at_once_by_one_worker_in_flat_memory(bare: System) -> None:
    await fill(bare, 2_000_000)
    rate, most_mib, samples = await drain(bare, 2_000_000, workers=1)
    third = len(samples) // 3
    print(
        f"  {rate:.0f} pageviews/s, at most {most_mib:.0f} MiB; by thirds"
        f" {[round(max(samples[start : start + third])) for start in range(0, 3 * third, third)]}"
    )
    assert exact(bare, 2_000_000)
    assert most_mib < 500


Make = Callable[[int], Iterator[aio_pika.Message]]


async def fill(system: System, pageviews: int, make: Make | None = None) -> None:
    """Publish a backlog as gateways would have sealed it."""
    began = time.monotonic()
    connection = await queue.connect([system.broker.amqp_url], "hitline tests")
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        exchange = await channel.get_exchange(queue.EXCHANGE, ensure=False)
        made = (make or mixed)(pageviews)

        async def publisher() -> None:
            for each in made:
                await exchange.publish(each, queue.PAGEVIEWS, mandatory=True)

        await asyncio.gather(*(publisher() for _ in range(IN_FLIGHT)))
    print(f"  backlog of {pageviews} made in {time.monotonic() - began:.0f} s", flush=True)


def mixed(pageviews: int) -> Iterator[aio_pika.Message]:
    sealer = Sealer([parts.QUEUE_KEY])
    singles = int(pageviews * SINGLES)
    for size in [LARGE] * ((pageviews - singles) // LARGE) + [1] * singles:
        packed = [
            pack(poison_kinds.queued(page_id=os.urandom(16), url=f"https://example.com/page/{number % 100}"))
            for number in range(size)
        ]
        yield message.build(Headers(uuid.uuid4(), size, 0), join(packed), sealer)


def largest(pageviews: int) -> Iterator[aio_pika.Message]:
    sealer = Sealer([parts.QUEUE_KEY])
    for number in range(pageviews // 4):
        url = f"https://example.com/{number}?{'abcdefgh' * 3_500}"
        referrer = f"https://referrer.example/{number}?{'x' * 28_000}"
        packed = [pack(poison_kinds.queued(url=url, referrer=referrer)) for _ in range(4)]
        yield message.build(Headers(uuid.uuid4(), 4, 0), join(packed), sealer)


async def drain(system: System, until: int, workers: int) -> tuple[float, float, list[float]]:
    """Start workers, wait for so many rows, stop them; returns pageviews/s, the most MiB of any, and all samples."""
    rows = services.count(system.clickhouse, "pageviews_raw")
    started = [
        await asyncio.to_thread(system.add_worker, flush_seconds="0.5", log_format="json") for _ in range(workers)
    ]
    began, samples = time.monotonic(), [0.0]
    reported_s = began
    while (done := services.count(system.clickhouse, "pageviews_raw")) < until:
        samples.append(max(worker.resident_mib() for worker in started))
        await asyncio.sleep(0.3)
        if time.monotonic() - reported_s > 10:
            reported_s = time.monotonic()
            print(f"  {reported_s - began:.0f} s: {done - rows} stored, {samples[-1]:.0f} MiB", flush=True)
        assert time.monotonic() - began < 900
    rate = (done - rows) / (time.monotonic() - began)
    for worker in started:
        assert await asyncio.to_thread(worker.stop) == 0
    return rate, max(samples), samples


def exact(system: System, pageviews: int) -> bool:
    assert services.count(system.clickhouse) == pageviews
    assert system.outcomes() == {"stored": pageviews}
    assert services.count(system.clickhouse, "pageviews_raw") == pageviews
    return True

"""Workers killed -9 in the middle of a stream, at random and at exactly the worst moments: nothing lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from tests import services
from tests.delivery import faults
from tests.delivery.faults import Gate, Ledger
from tests.services import Service, System

WORKERS = 3
TAKEN = '{redelivered="false"}'


async def test_workers_killed_at_any_moment_lose_and_double_nothing(bare: System) -> None:
    await prove(bare, at_random=2, before_ack=1, in_insert=1, pageviews=3_000, per_second=800)


@pytest.mark.full
async def test_a_hundred_kills_in_a_stream_of_300_000(bare: System) -> None:
    await prove(bare, at_random=60, before_ack=28, in_insert=12, pageviews=300_000, per_second=1_800)


@dataclass
class Rack:
    """A worker behind a gate to its broker, which holds acknowledgements back when it is shut."""

    worker: Service
    gate: Gate

    async def restart(self) -> None:
        self.gate.cut()
        self.gate.open()
        await asyncio.to_thread(self.worker.start)


async def prove(
    system: System, at_random: int, before_ack: int, in_insert: int, pageviews: int, per_second: float
) -> None:
    ledger = Ledger()
    kills = Counter[str]()
    plan = ["random"] * at_random + ["before ack"] * before_ack
    random.shuffle(plan)
    with faults.no_merges(system):
        async with contextlib.AsyncExitStack() as stack:
            racks = [await start_rack(system, stack) for _ in range(WORKERS)]
            done = asyncio.Event()
            posting = asyncio.create_task(faults.stream(system, ledger, done, pageviews, per_second))
            await kill_by_plan(system, racks, plan, kills)
            before = faults.doubled(system)
            print(f"doubled before any merge after kills at random and before the ack: {before}")
            with faults.slow_inserts(system, 2.5):
                await kill_by_plan(system, racks, ["in insert"] * in_insert, kills)
            done.set()
            await posting
            await faults.assert_exact(system, ledger)
        print(f"kills {dict(kills)}")
        await explain_doubled(system)
    assert kills.total() == at_random + before_ack + in_insert


async def start_rack(system: System, stack: contextlib.AsyncExitStack) -> Rack:
    gate = await stack.enter_async_context(Gate(system.broker.amqp_url).running())
    worker = await asyncio.to_thread(system.add_worker, amqp_url=gate.url)
    return Rack(worker, gate)


async def kill_by_plan(system: System, racks: list[Rack], plan: list[str], kills: Counter[str]) -> None:
    began = time.monotonic()
    for kind in plan:
        kill = {"random": at_any_moment, "before ack": before_the_ack, "in insert": inside_an_insert}[kind]
        rack = await kill(system, racks)
        kills[kind] += 1
        await rack.restart()
        if kills.total() % 10 == 0:
            rows = services.count(system.clickhouse, "pageviews_raw")
            print(f"  {time.monotonic() - began:.0f} s: {kills.total()} kills, {rows} rows", flush=True)


def busy(racks: list[Rack]) -> Rack:
    """Return a worker that has messages at the moment: at a rate that one can take, others have none."""
    before = [faults.metric(rack.worker, "hitline_messages_total", TAKEN) for rack in racks]

    def taking() -> list[Rack]:
        return [
            rack
            for rack, taken in zip(racks, before, strict=True)
            if faults.metric(rack.worker, "hitline_messages_total", TAKEN) > taken
        ]

    return random.choice(services.wait_for(taking))


async def at_any_moment(_: System, racks: list[Rack]) -> Rack:
    rack = random.choice(racks)
    await asyncio.sleep(random.uniform(0, 1))
    rack.worker.kill()
    return rack


async def before_the_ack(_: System, racks: list[Rack]) -> Rack:
    """Kill when ClickHouse has answered an insert and its acknowledgements have not left for the broker."""
    for _attempt in range(10):
        # Chosen again at each attempt: while a gate is shut, the broker gives what comes to the other workers.
        rack = await asyncio.to_thread(busy, racks)
        inserts = functools.partial(faults.metric, rack.worker, "hitline_insert_rows_count")
        rack.gate.shut()
        before = await asyncio.to_thread(inserts)
        with contextlib.suppress(TimeoutError):
            await asyncio.to_thread(services.wait_for, lambda: inserts() > before, 3)  # noqa: B023
            rack.worker.kill()
            return rack
        rack.gate.open()  # shut while it was asking the broker for something else, or had nothing left to insert
    raise TimeoutError("no insert came")


async def inside_an_insert(system: System, racks: list[Rack]) -> Rack:
    """Kill while the server is at work on an insert of this worker, which goes on for seconds."""
    rack = await asyncio.to_thread(busy, racks)
    mark = f"-{rack.worker.pid}-"

    def running() -> bool:
        return any(mark in query_id for query_id in faults.running_inserts(system))

    await asyncio.to_thread(services.wait_for, running, 30)
    rack.worker.kill()
    assert await asyncio.to_thread(running), "the insert ended with the worker"
    return rack


async def explain_doubled(system: System) -> None:
    """Print, for each kill that doubled something, when both copies were written."""
    sql = (
        "SELECT toString(batch_id) AS batch, copies[1] AS first, copies[2] AS second, count() AS rows FROM ("
        " SELECT batch_id, position, arraySort(groupArray(stored_at)) AS copies FROM hitline.pageviews_raw"
        " GROUP BY batch_id, position HAVING count() > 1) GROUP BY batch, first, second ORDER BY first"
    )
    found = services.rows(system.clickhouse, sql)
    for each in found:
        print(f"  doubled: {each['rows']} rows of {each['batch']} written at {each['first']} and {each['second']}")

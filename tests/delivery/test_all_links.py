"""Requests that are cut, late and repeated on all three links at random, workers that are killed: one ledger by id.

Forwarder to gateway, gateway and workers to the broker, workers to ClickHouse.  The forwarder behaves as one should:
what was not accepted, or is of unknown fate, it posts again with the same ids; now and then it gives up on an unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson
import pytest

from shared import queue
from tests import parts, services
from tests.delivery import faults, links
from tests.delivery.faults import Ledger
from tests.delivery.links import HTTP_FAULTS, TCP_FAULTS, HttpLink, TcpLink
from tests.http import BATCH_ENDPOINT
from tests.services import System

WORKERS = 2
#: Batches that the forwarder has under way.
FORWARDERS = 4
GIVEN_UP = 0.05


async def test_cut_late_and_repeated_requests_on_all_links(linked: Chaos) -> None:
    await prove(linked, rounds=3, pageviews=1_000, per_second=1_000)


@pytest.mark.full
async def test_a_hundred_rounds_on_all_links_in_a_ledger_of_200_000(linked: Chaos) -> None:
    await prove(linked, rounds=120, pageviews=200_000, per_second=250)


@dataclass
class Chaos:
    """A system all of whose connections go through relays."""

    system: System
    front: HttpLink
    clickhouse: HttpLink
    broker: TcpLink
    loop: asyncio.AbstractEventLoop
    ledger: Ledger = field(default_factory=Ledger)
    did: Counter[str] = field(default_factory=Counter)


@pytest.fixture
def linked(stack: parts.Stack, tmp_path: Path) -> Iterator[Chaos]:
    clickhouse, broker = HttpLink(stack.clickhouse.url), TcpLink(stack.broker.amqp_url)
    with links.running(clickhouse, broker) as loop:
        settings = {"amqp_url": broker.url, "clickhouse_url": clickhouse.url}
        with services.system(stack.clickhouse, stack.broker, tmp_path, workers=WORKERS, **settings) as system:
            front = HttpLink(f"http://127.0.0.1:{system.port}")
            with links.running(front):
                yield Chaos(system, front, clickhouse, broker, loop)


async def prove(chaos: Chaos, rounds: int, pageviews: int, per_second: float) -> None:
    done = asyncio.Event()
    share = per_second / FORWARDERS
    forwarders = [asyncio.create_task(forward(chaos, done, pageviews, share)) for _ in range(FORWARDERS)]
    began = time.monotonic()
    for number in range(rounds):
        await one_round(chaos)
        if number % 10 == 9:
            accepted, given_up = len(chaos.ledger.accepted), len(chaos.ledger.unknown)
            spent = time.monotonic() - began
            print(f"  {spent:.0f} s: {number + 1} rounds, {accepted} accepted, {given_up} given up", flush=True)
    done.set()
    await asyncio.gather(*forwarders)
    await assert_exact(chaos)
    print(f"  faults met: {dict(chaos.did)}; {dict(chaos.front.met)}; {dict(chaos.clickhouse.met)}")


async def one_round(chaos: Chaos) -> None:
    """Some faults on some links at once, and in every other round a worker that is killed; then a moment of peace."""
    seconds = random.uniform(0.3, 1.5)
    under_way = []
    for link in (chaos.front, chaos.clickhouse):
        if random.random() < 0.7:
            link.faults = random.sample(HTTP_FAULTS, 3)
            chaos.did["http"] += 1
    if random.random() < 0.7:
        fault = random.choice(TCP_FAULTS)
        meeting = asyncio.run_coroutine_threadsafe(chaos.broker.meet(fault, seconds), chaos.loop)
        under_way.append(asyncio.wrap_future(meeting))
        chaos.did[fault] += 1
    if random.random() < 0.3:
        chaos.did["messages copied"] += await copy_messages(chaos.system.broker.amqp_url)
    worker = random.choice(chaos.system.workers) if random.random() < 0.5 else None
    await asyncio.sleep(random.uniform(0, seconds))
    if worker is not None:
        worker.kill()
        chaos.did["worker killed"] += 1
    await asyncio.gather(asyncio.sleep(seconds), *under_way)
    chaos.front.faults = chaos.clickhouse.faults = ()
    if worker is not None:
        await asyncio.to_thread(worker.start)
    await asyncio.sleep(random.uniform(0, 0.5))


async def copy_messages(amqp_url: str) -> int:
    """Put some messages that wait into the queue twice, as a shovel does whose acknowledgement is lost; how many."""
    copied = 0
    async with await queue.connect([amqp_url], "hitline tests") as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(queue.EXCHANGE)
        source = await channel.get_queue(queue.QUEUE, ensure=False)
        for _ in range(3):
            taken = await source.get(fail=False)
            if taken is None:
                break
            for _ in range(2):
                await exchange.publish(taken, queue.PAGEVIEWS, mandatory=True)
            await taken.ack()
            copied += 1
    return copied


async def forward(chaos: Chaos, done: asyncio.Event, at_least: int, per_second: float) -> None:
    """Post batches until the event, and until so many are accepted."""
    headers = {"Authorization": f"Bearer {chaos.system.token}", "Content-Type": "application/x-ndjson"}
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(chaos.front.url, headers=headers, timeout=timeout) as session:
        while not done.is_set() or len(chaos.ledger.accepted) < at_least:
            batch = faults.make_pageviews(random.choice((1, 20, 100, 200)))
            began = time.monotonic()
            while batch:
                batch = await post(session, batch, chaos.ledger)
                if batch:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(max(0.0, began + 100 / per_second - time.monotonic()))


async def post(session: aiohttp.ClientSession, batch: list[dict[str, str]], ledger: Ledger) -> list[dict[str, str]]:
    """Post once, note the answer, and return what has to be posted again."""
    try:
        async with session.post(f"{BATCH_ENDPOINT}?errors=all", data=b"\n".join(map(orjson.dumps, batch))) as answer:
            status, answered = answer.status, await answer.json()
    except (aiohttp.ClientError, OSError, TimeoutError):
        status, answered = 0, {"message": "unknown"}
    ledger.statuses[status] += 1
    errors = {each["index"]: each["message"] for each in answered.get("errors", [])}
    if status != 202 and not errors:
        errors = dict.fromkeys(range(len(batch)), answered["message"])
    accepted = {each["page_id"] for index, each in enumerate(batch) if index not in errors}
    ledger.accepted |= accepted
    ledger.unknown |= {batch[index]["page_id"] for index, text in errors.items() if text.startswith("unknown")}
    ledger.unknown -= accepted
    if random.random() < GIVEN_UP:
        return [batch[index] for index, text in errors.items() if not text.startswith("unknown")]
    return [batch[index] for index in errors]


async def assert_exact(chaos: Chaos) -> None:
    """Every accepted id is stored, each once, and nothing else but what is of unknown fate; nothing is dead."""
    system, ledger = chaos.system, chaos.ledger

    def missing() -> set[str]:
        return ledger.accepted - faults.stored_ids(system)

    with contextlib.suppress(TimeoutError):
        await asyncio.to_thread(services.wait_for, lambda: not missing(), faults.ACCEPT_S)
    await asyncio.to_thread(services.wait_for, lambda: parts.run_apart(lambda: depth(system, queue.QUEUE)) == 0)
    await asyncio.sleep(1)
    stored, outcomes = faults.stored_ids(system), system.outcomes()
    print(
        f"  accepted {len(ledger.accepted)}, given up as unknown {len(ledger.unknown)}, answers"
        f" {dict(ledger.statuses)}, stored {len(stored)}, rows {services.count(system.clickhouse, 'pageviews_raw')},"
        f" outcomes {outcomes}"
    )
    assert not missing(), f"{len(missing())} lost"
    assert stored <= ledger.accepted | ledger.unknown
    assert services.count(system.clickhouse) == len(stored), "the view has a pageview twice"
    assert set(outcomes) == {"stored"}
    assert outcomes["stored"] >= len(stored)  # a request that was posted twice was accepted twice
    assert await depth(system, queue.DEAD_QUEUE) == 0
    assert all(worker.running for worker in system.workers)


async def depth(system: System, name: str) -> int:
    return await parts.depth(system.broker.amqp_url, name)

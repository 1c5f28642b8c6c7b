"""A worker was killed between a dead letter and its acknowledgement: the letter's replay meets the message itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aio_pika
import pytest

from shared import queue
from tests import parts, services
from tests.delivery import faults, poison_kinds
from tests.delivery.poison_kinds import KINDS
from tests.delivery.test_poison import dead, listed
from tests.services import System

TABLE = "ALTER TABLE hitline.pageviews_raw"


@pytest.fixture
def refusing(bare: System) -> Iterator[System]:
    """A system whose ClickHouse refuses one path."""
    parts.execute(bare.clickhouse, f"{TABLE} ADD CONSTRAINT IF NOT EXISTS good CHECK path != '/evil'")
    yield bare
    parts.execute(bare.clickhouse, f"{TABLE} DROP CONSTRAINT IF EXISTS good")


@pytest.mark.parametrize("letter_first", [False, True])
@pytest.mark.parametrize("mended", [True, pytest.param(False, marks=pytest.mark.full)])
async def test_a_replay_beside_its_message_counts_once(refusing: System, mended: bool, letter_first: bool) -> None:
    worker = refusing.add_worker()
    message = KINDS["refused by ClickHouse"].make()
    await poison_kinds.publish(refusing.broker.amqp_url, [message])
    listed(refusing, 1)
    await asyncio.to_thread(worker.stop)
    assert refusing.outcomes() == {"stored": 1, "dead_lettered": 1}

    if not letter_first:
        await deliver_again(refusing.broker.amqp_url, message)
    dead(refusing, "replay", "--all", "--wait", "0")
    if letter_first:
        await deliver_again(refusing.broker.amqp_url, message)
    if mended:
        parts.execute(refusing.clickhouse, f"{TABLE} DROP CONSTRAINT good")
    worker = refusing.add_worker(flush_seconds="2")
    # A letter whose message was stored meanwhile stores nothing, and counts as nothing.
    counted = 2 if mended and not letter_first else 3
    await asyncio.to_thread(services.wait_for, lambda: settled(worker) == counted)
    await asyncio.to_thread(worker.stop)
    assert await parts.depth(refusing.broker.amqp_url, queue.QUEUE) == 0, "all are acknowledged"

    assert refusing.outcomes() == ({"stored": 2} if mended else {"stored": 1, "dead_lettered": 1})
    # Refused again, and the message settled before its replay: each wrote a letter, which are replayed as one.
    letters = 0 if mended else 1 if letter_first else 2
    assert len(listed(refusing, letters)) == letters
    assert (services.count(refusing.clickhouse), faults.doubled(refusing)) == (1 + mended, 0)


async def deliver_again(amqp_url: str, message: aio_pika.Message) -> None:
    """Put the message into the queue as the broker does that got no acknowledgement of it: marked as redelivered."""
    await poison_kinds.publish(amqp_url, [message])
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        source = await (await connection.channel()).get_queue(queue.QUEUE, ensure=False)
        taken = [await source.get() for _ in range(await parts.depth(amqp_url, queue.QUEUE))]
        for each in taken:
            await each.nack()


def settled(worker: services.Service) -> float:
    return sum(faults.metric(worker, "hitline_outcomes_total", f'{{outcome="{end}"}}') for end in ENDS)


ENDS = ("stored", "dead_lettered")

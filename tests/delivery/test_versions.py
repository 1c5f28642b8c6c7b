"""Gateways and workers of two versions on one queue: what an older worker can't read waits for a newer one."""

from __future__ import annotations

import asyncio

import aio_pika
import pytest

from shared import message, queue
from shared.pageview import unpack
from shared.seal import Opener
from tests import parts, services
from tests.delivery import faults, poison_kinds
from tests.delivery.faults import Ledger
from tests.services import System


async def test_messages_of_a_newer_version_wait_and_hold_up_nobody(
    bare: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = [poison_kinds.sealed([poison_kinds.queued()], schema=2) for _ in range(20)]
    await poison_kinds.publish(bare.broker.amqp_url, newer)
    worker = bare.add_worker()
    await faults.post_batches(bare, faults.make_pageviews(500), Ledger(), size=100)

    await asyncio.to_thread(bare.wait_for_outcomes, 500)
    assert bare.outcomes() == {"stored": 500}
    assert faults.metric(worker, "hitline_paused", '{reason="newer_schema"}') == 1
    await asyncio.to_thread(worker.stop)
    assert await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE) == 0
    assert await parts.depth(bare.broker.amqp_url, queue.QUEUE) == 20

    monkeypatch.setattr(message, "SCHEMA_VERSION", 2)
    assert len(await read_by_a_newer_version(bare.broker.amqp_url)) == 20
    assert services.count(bare.clickhouse) == 500


async def read_by_a_newer_version(amqp_url: str) -> set[str | None]:
    """Take and open every message of the queue; return their ids."""
    opener = Opener([parts.QUEUE_KEY])
    found = set()
    async with await aio_pika.connect(amqp_url) as connection:
        source = await (await connection.channel()).get_queue(queue.QUEUE)
        while (taken := await source.get(fail=False)) is not None:
            assert len(unpack(message.open_body(taken, message.read_headers(taken), opener))) == 1
            found.add(taken.message_id)
            await taken.ack()
    return found

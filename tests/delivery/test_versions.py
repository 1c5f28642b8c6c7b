"""Gateways and workers of two versions on one queue: what an older worker can't read waits for a newer one."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import aio_pika
import pytest

from shared import message, queue
from shared.pageview import SCHEMA_VERSION, unpack
from shared.seal import Opener
from tests import http, parts, services
from tests.delivery import faults, poison_kinds
from tests.delivery.faults import Ledger
from tests.services import Service, System


async def test_messages_of_a_newer_version_wait_and_hold_up_nobody(
    bare: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = [poison_kinds.sealed([poison_kinds.queued()], schema=SCHEMA_VERSION + 1) for _ in range(20)]
    await poison_kinds.publish(bare.broker.amqp_url, newer)
    worker = bare.add_worker()
    await faults.post_batches(bare, faults.make_pageviews(500), Ledger(), size=100)

    await asyncio.to_thread(bare.wait_for_outcomes, 500)
    assert bare.outcomes() == {"stored": 500}
    assert faults.metric(worker, "hitline_paused", '{reason="newer_schema"}') == 1
    await asyncio.to_thread(worker.stop)
    assert await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE) == 0
    assert await parts.depth(bare.broker.amqp_url, queue.QUEUE) == 20

    monkeypatch.setattr(message, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    assert len(await read_by_a_newer_version(bare.broker.amqp_url)) == 20
    assert services.count(bare.clickhouse) == 500


#: What makes a process one that knows version 1 only.
OLDER = """
from shared import message, pageview
message.SCHEMA_VERSION = pageview.SCHEMA_VERSION = 1
message.Headers.__init__.__defaults__ = (0, False, 1)
pageview.pack = lambda one: pageview.pack_item(pageview.to_item(one, 1))
from {name}.__main__ import main
main()
"""


def older(bare: System, name: str) -> Service:
    command = [sys.executable, "-c", OLDER.format(name=name)]
    return Service(name, bare.env, bare.logs / f"older-{name}.log", command).start()


async def test_workers_read_both_versions_and_an_older_one_leaves_the_newer_messages_to_them(bare: System) -> None:
    older_worker, older_gateway = older(bare, "worker"), older(bare, "gateway")
    try:
        ledger = Ledger()
        await asyncio.to_thread(services.wait_for, lambda: http.ready(older_gateway.admin_port))
        from_older = replace(bare, gateway=older_gateway)
        await faults.post_batches(from_older, faults.make_pageviews(100), ledger, size=10)
        await asyncio.to_thread(bare.wait_for_outcomes, 100)
        await faults.post_batches(bare, faults.make_pageviews(100), ledger, size=10)
        await asyncio.to_thread(
            services.wait_for,
            lambda: faults.metric(older_worker, "hitline_paused", '{reason="newer_schema"}') == 1,
        )
        assert services.count(bare.clickhouse) == 100, "the newer gateway's wait"
        await asyncio.to_thread(older_worker.stop)
        bare.add_worker()
        await faults.post_batches(from_older, faults.make_pageviews(100), ledger, size=10)
        await asyncio.to_thread(bare.wait_for_outcomes, 300)
        assert bare.outcomes() == {"stored": 300}
        assert faults.stored_ids(bare) == ledger.accepted
    finally:
        older_worker.end()
        older_gateway.end()


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

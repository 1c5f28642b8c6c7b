"""A worker's pause ends with its channel: other workers may have its messages by then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import aio_pika
import pytest

from shared import queue
from tests import parts, services
from tests.delivery import faults, poison_kinds
from tests.delivery.faults import Ledger
from tests.services import Service, System


@pytest.fixture
def crowded(bare: System) -> Iterator[System]:
    """A system whose dead-letter queue takes one message."""
    bare.broker.ctl("set_policy", "tiny", "^hitline.dead$", '{"max-length": 1}', "--apply-to", "queues")
    yield bare
    bare.broker.ctl("clear_policy", "tiny")


async def test_a_pause_for_much_poison_ends_with_its_session(bare: System) -> None:
    worker = bare.add_worker()
    await poison_kinds.publish(bare.broker.amqp_url, [large_foreign() for _ in range(4)])
    await prove_told_no_longer(bare, worker, "hitline_paused", '{reason="poison"}')


async def test_a_pause_for_a_full_dead_letter_queue_ends_with_its_session(crowded: System) -> None:
    worker = crowded.add_worker()
    await poison_kinds.publish(crowded.broker.amqp_url, [poison_kinds.foreign() for _ in range(100)])
    await prove_told_no_longer(crowded, worker, "hitline_paused", '{reason="dead_letters"}')


async def test_rows_wait_no_longer_than_their_session(bare: System) -> None:
    worker = bare.add_worker(flush_seconds="60")
    await faults.post_batches(bare, faults.make_pageviews(10), Ledger())
    await prove_told_no_longer(bare, worker, "hitline_rows_waiting")


async def test_a_paused_worker_goes_on_when_an_operator_allows_it(bare: System) -> None:
    worker = bare.add_worker()
    await poison_kinds.publish(bare.broker.amqp_url, [large_foreign() for _ in range(6)])
    paused = partial(faults.metric, worker, "hitline_paused", '{reason="poison"}')
    await asyncio.to_thread(services.wait_for, lambda: paused() > 0)
    assert await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE) < 6

    services.hitline(bare.env, "dead", "allow", "1500")

    # By itself a worker goes on at 30 pageviews a minute, so that these would take 50 minutes.
    buried = partial(parts.depth, bare.broker.amqp_url, queue.DEAD_QUEUE)
    await asyncio.to_thread(services.wait_for, lambda: parts.run_apart(buried) >= 5, 60)
    services.hitline(bare.env, "dead", "allow", "all")
    await asyncio.to_thread(services.wait_for, lambda: parts.run_apart(buried) == 6, 60)
    await asyncio.to_thread(services.wait_for, lambda: paused() == 0)


async def prove_told_no_longer(system: System, worker: Service, name: str, labels: str = "") -> None:
    """Wait until the worker reports the pause, take its messages away, and expect the pause to end."""
    await asyncio.to_thread(services.wait_for, lambda: faults.metric(worker, name, labels) > 0, 90)
    await parts.delete_queue(system.broker.amqp_url, queue.QUEUE)

    def began_again() -> bool:
        """Repeated attempts are logged once, so the sessions that follow are counted, too."""
        text = worker.text()
        return text.count("reconnecting in") >= 2 or text.count("connected, consuming") >= 3

    await asyncio.to_thread(services.wait_for, began_again, 90)
    assert faults.metric(worker, name, labels) == 0


def large_foreign() -> aio_pika.Message:
    message = poison_kinds.foreign()
    message.headers["pageviews"] = 500
    return message

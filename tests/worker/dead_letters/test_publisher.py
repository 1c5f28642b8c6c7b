"""What is logged about dead letters, and how many pageviews each counts for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deploy.local.rabbitmq import RabbitMQNode
from shared import queue
from shared.message import MAX_PAGEVIEWS
from shared.seal import Opener, Sealer
from tests import parts
from tests.worker.dead_letters.test_limiter import Clock
from tests.worker.deliveries import FakeDelivery
from worker.consume.process import open_message
from worker.dead_letters.limiter import BURST, DeadLetterLimiter
from worker.dead_letters.publisher import DeadLetterPublisher, ReasonLog
from worker.delivery import ProcessedMessage
from worker.store.settle import _in_groups

KEY = b"k" * 32


def unopenable(pageviews: int) -> ProcessedMessage:
    message = FakeDelivery(headers={"pageviews": pageviews})
    processed = open_message(message, Opener((KEY,)))
    assert isinstance(processed, ProcessedMessage)
    return processed


def test_a_reason_is_logged_once_and_again_after_a_quiet_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    reasons = ReasonLog(clock)
    for seconds in (0, 59, 59):
        clock.now += seconds
        reasons.note("key 12ab is not in HITLINE_QUEUE_KEYS")
    reasons.note("body does not decompress")
    assert len(caplog.records) == 2
    assert caplog.records[0].levelname == "WARNING"
    assert "key 12ab is not in HITLINE_QUEUE_KEYS; see `hitline dead list`" in caplog.text
    clock.now += 61
    reasons.note("body does not decompress")
    assert len(caplog.records) == 3


async def test_a_message_that_can_not_be_opened_counts_for_its_pageviews(
    queues: RabbitMQNode, caplog: pytest.LogCaptureFixture
) -> None:
    admitted: list[int] = []

    class Counting(DeadLetterLimiter):
        async def admit(self, pageviews: int = 1) -> None:
            admitted.append(pageviews)

    async with publisher(queues, Counting()) as dead_letters:
        await dead_letters.publish([unopenable(100), unopenable(1)])
    assert admitted == [100, 1]
    assert await parts.depth(queues.amqp_url, queue.DEAD_QUEUE) == 2
    assert len([record for record in caplog.records if "hitline dead list" in record.message]) == 1


@asynccontextmanager
async def publisher(broker: RabbitMQNode, limiter: DeadLetterLimiter) -> AsyncIterator[DeadLetterPublisher]:
    connection = await queue.connect([broker.amqp_url], "hitline tests")
    async with connection:
        yield DeadLetterPublisher(connection, Sealer((KEY,)), limiter)


def test_a_large_message_is_dead_lettered_by_itself() -> None:
    sizes = [20, 30, 1, MAX_PAGEVIEWS, MAX_PAGEVIEWS, 1]
    groups = [
        [processed.poison_pageviews for processed in group]
        for group in _in_groups([unopenable(size) for size in sizes])
    ]
    assert groups == [[20, 30], [1], [MAX_PAGEVIEWS], [MAX_PAGEVIEWS], [1]]
    assert MAX_PAGEVIEWS < BURST  # one alone never pauses

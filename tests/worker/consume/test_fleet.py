"""Several workers on one queue: as few of them work as the load needs, and the next takes over at once."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from shared import queue
from tests import services
from tests.delivery import faults
from tests.services import System
from worker.consume.fleet import Fleet


@pytest.mark.parametrize(
    ("consumers", "waiting", "stretch"), [(1, 0, 1), (4, 0, 1), (50, 0, 4), (1, 9, 4), (18, 0, 1.5)]
)
def test_busy_workers_gather_longer_the_more_there_are(consumers: int, waiting: int, stretch: float) -> None:
    fleet = Fleet(Mock())
    fleet.consumers, fleet.waiting = consumers, waiting
    assert fleet.stretch == stretch
    assert (fleet.work_s is None) is (consumers == 1 or waiting > 0)


async def test_a_queue_that_cant_be_looked_at_counts_as_one_worker(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await queue.connect([system.broker.amqp_url], "hitline tests")
    async with connection:
        fleet = Fleet(connection)
        await fleet.look()
        assert (fleet.consumers, fleet.waiting) == (1, 0)
        with monkeypatch.context() as changed:
            changed.setattr(queue, "QUEUE", "hitline.none")
            await fleet.look()
            assert fleet.work_s is None
        await fleet.look()
        assert (fleet.consumers, fleet.waiting) == (1, 0)
    await fleet.look()
    assert (fleet.consumers, fleet.waiting) == (1, 0)


async def test_one_worker_takes_what_it_can_and_the_next_takes_over_from_it(system: System) -> None:
    workers = [*system.workers, *[await asyncio.to_thread(system.add_worker) for _ in range(2)]]
    for _ in workers:
        before = [messages(worker) for worker in workers if worker.running]
        for _ in range(60):
            assert system.post(**services.ids()).status == 202
        services.wait_for(lambda: sum(map(messages, running(workers))) >= sum(before) + 60)  # noqa: B023
        taken = [messages(worker) - old for worker, old in zip(running(workers), before, strict=True)]
        assert max(taken) >= 40, "a few go to others while it subscribes again with another prefetch"
        busiest = max(zip(taken, running(workers), strict=True), key=lambda each: each[0])[1]
        await asyncio.to_thread(busiest.stop)
    workers[0].start()
    assert sum(system.wait_for_outcomes(60).values()) == 180


def running(workers: list[services.Service]) -> list[services.Service]:
    return [worker for worker in workers if worker.running]


def messages(worker: services.Service) -> float:
    # RabbitMQ 3.10 marks as redelivered what it had meant for a consumer that cancelled before it was sent.
    return sum(
        faults.metric(worker, "hitline_messages_total", f'{{redelivered="{flag}"}}') for flag in ("false", "true")
    )

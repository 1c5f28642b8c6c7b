"""Messages of a newer version, held for a while and returned to the queue."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from shared import metrics
from tests.worker.deliveries import FakeDelivery
from worker.consume.newer_messages import NewerMessages
from worker.delivery import ProcessedMessage
from worker.store.settle import MessageSettler


class Returnable(FakeDelivery):
    """A delivery that notes in a shared list what happened, in order."""

    def __init__(self, tag: int, events: list[Any]) -> None:
        super().__init__(delivery_tag=tag)
        self.events = events

    async def nack(self, *, requeue: bool) -> None:
        self.events.append(("returned" if requeue else "lost", self.delivery_tag))
        await asyncio.sleep(0)


def paused() -> float:
    return metrics.PAUSED.labels("newer_schema")._value.get()


def hold(newer: NewerMessages, message: FakeDelivery) -> None:
    newer.hold(cast("Any", message), "schema version 2")


async def test_they_are_held_and_then_returned_together() -> None:
    now, events = [100.0], list[Any]()
    newer = NewerMessages(lambda tag: events.append(("settled", tag)), hold_s=30, clock=lambda: now[0])
    assert newer.due_in_s is None
    hold(newer, Returnable(1, events))
    now[0] += 20
    hold(newer, Returnable(2, events))
    assert newer.due_in_s == 10
    assert paused() == 1
    assert await newer.return_due() == 0

    now[0] += 10
    assert await newer.return_due() == 2
    # Settled only once it is back in the queue: an acknowledgement of all up to a later tag would lose it.
    assert events == [("returned", 1), ("settled", 1), ("returned", 2), ("settled", 2)]
    assert newer.due_in_s is None
    assert paused() == 0


def test_those_of_a_lost_channel_are_forgotten() -> None:
    newer = NewerMessages(lambda _: None)
    hold(newer, FakeDelivery())
    newer.forget()
    assert newer.due_in_s is None
    assert paused() == 0


async def test_a_held_message_is_never_acknowledged_with_others_and_a_returned_one_leaves_no_gap() -> None:
    settler = MessageSettler(*[cast("Any", None)] * 4)
    messages = [ProcessedMessage(FakeDelivery(delivery_tag=tag), None, {}, {}, (), 0) for tag in range(1, 5)]
    await settler._ack(messages[:1] + messages[2:3])  # 2 is held
    assert acknowledged(messages) == [[True], [], [False], []]
    settler.skip(2)
    await settler._ack(messages[3:])
    assert acknowledged(messages) == [[True], [], [False], [True]]
    assert settler._settled == {}


def acknowledged(messages: list[ProcessedMessage]) -> list[list[bool]]:
    return [cast("FakeDelivery", message.delivery).acknowledged for message in messages]

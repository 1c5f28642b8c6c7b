"""Acknowledging: whatever is settled, in any order, and nothing else; once for many where there is no gap."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.message import Headers
from tests.worker.deliveries import FakeDelivery
from tests.worker.store.test_revise import STORED
from worker.delivery import ProcessedMessage
from worker.store.outcomes import NOTHING_EARLIER
from worker.store.settle import MessageSettler


@dataclass
class Channel:
    """What a broker knows of a channel's deliveries, from 1; it refuses tags that it does not know."""

    unacknowledged: set[int]
    frames: int = 0

    def ack(self, tag: int, multiple: bool) -> None:
        self.frames += 1
        assert tag in self.unacknowledged, "PRECONDITION_FAILED - unknown delivery tag"
        self.unacknowledged -= {each for each in self.unacknowledged if each == tag or (multiple and each < tag)}


@dataclass
class Delivery(FakeDelivery):
    """One of a channel's."""

    channel: Channel = field(default_factory=lambda: Channel(set()))
    timestamp: datetime | None = datetime(2026, 5, 28, tzinfo=UTC)

    async def ack(self, multiple: bool = False) -> None:
        assert self.delivery_tag is not None
        self.channel.ack(self.delivery_tag, multiple)


class Counting:
    """Stands for ClickHouse."""

    async def insert(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(0)


class At:
    """Lets nothing of a `Retry` happen."""

    async def until_done(self, operation: Any, name: str) -> Any:
        return await operation()


class Limiter:
    """Counts nothing."""

    def record_good(self, count: int) -> None:
        assert count >= 0


def settler() -> MessageSettler:
    return MessageSettler(Counting(), At(), None, Limiter())  # type: ignore[arg-type]


def message(tag: int, channel: Channel) -> ProcessedMessage:
    delivery = Delivery(delivery_tag=tag, channel=channel)
    return ProcessedMessage(delivery, Headers(uuid.uuid4(), 1, 0), {}, {0: STORED}, (), 100)


@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8), max_size=3), st.data())
def test_what_is_settled_is_acknowledged_and_nothing_else(
    order: list[int], left: set[int], data: st.DataObject
) -> None:
    """`left`: they go back into the queue, which the broker knows by then."""

    async def run() -> None:
        channel = Channel(set(range(1, 9)))
        settling = settler()
        rest = list(order)
        while rest:
            some = [rest.pop() for _ in range(data.draw(st.integers(1, len(rest))))]
            for tag in left & set(some):
                settling.skip(tag)
                channel.unacknowledged.discard(tag)
            expected = channel.unacknowledged - set(some)
            await settling.settle([message(tag, channel) for tag in some if tag not in left], NOTHING_EARLIER)
            assert channel.unacknowledged == expected

    asyncio.run(run())


async def test_without_a_gap_one_acknowledgement_is_for_all() -> None:
    channel, settling = Channel({1, 2, 3, 4}), settler()
    settling.skip(2)
    channel.unacknowledged.discard(2)
    await settling.settle([message(tag, channel) for tag in (1, 3, 4)], NOTHING_EARLIER)
    assert (channel.unacknowledged, channel.frames) == (set(), 1)

"""Group commit by itself: what shares a message, what is bounded, and what each request is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import aio_pika
import pytest

from gateway import publish
from gateway.broker import BrokerConnection, NotPublished, PublishUncertain
from gateway.publish import MAX_IN_FLIGHT, Publisher
from gateway.replies import Reason, Rejected
from shared import message, metrics
from shared.message import open_body, read_headers
from shared.pageview import unpack
from shared.seal import Opener, Sealer

KEY = bytes(32)
REFUSALS = (Reason.BROKER_DOWN, Reason.BROKER_BLOCKED, Reason.BROKER_REFUSED, Reason.NO_QUEUE)


class FakeBroker:
    """Confirms each message when `confirm` is called with its number, and fails it with what `confirm` is given."""

    def __init__(self) -> None:
        self.unavailable_reason: Reason | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.messages: list[aio_pika.Message] = []
        self._confirms: list[asyncio.Future[None]] = []

    async def publish(self, sent: aio_pika.Message) -> None:
        self.messages.append(sent)
        self._confirms.append(asyncio.get_running_loop().create_future())
        await self._confirms[-1]

    async def confirm(self, number: int = 0, failure: BaseException | None = None) -> None:
        if failure is None:
            self._confirms[number].set_result(None)
        else:
            self._confirms[number].set_exception(failure)
        await turns()

    async def confirm_all(self) -> None:
        while left := [number for number, confirm in enumerate(self._confirms) if not confirm.done()]:
            await self.confirm(left[0])

    def contents(self) -> list[list[Any]]:
        """Return the pageviews of each message."""
        opener = Opener([KEY])
        return [list(unpack(open_body(each, read_headers(each), opener))) for each in self.messages]


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def queue() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def publisher(queue: FakeBroker) -> AsyncIterator[Publisher]:
    yield Publisher(cast("BrokerConnection", queue), Sealer([KEY]), lambda: 42)
    await queue.confirm_all()  # what is left pending would end, and be counted, in another test


def item(number: int) -> bytes:
    """Return a packed value below 128."""
    return bytes((number,))


def value(metric: Any, *labels: str) -> float:
    return float((metric.labels(*labels) if labels else metric)._value.get())


@pytest.fixture
def counted() -> Callable[[], dict[str, tuple[float, float]]]:
    """Count messages and pageviews by result since the test began; results with none are left out."""
    labels = ["confirmed", *(reason.label for reason in Reason)]

    def now() -> dict[str, tuple[float, float]]:
        return {each: (value(metrics.PUBLISHED, each), value(metrics.PUBLISHED_PAGEVIEWS, each)) for each in labels}

    before = now()
    return lambda: {
        each: (messages - before[each][0], pageviews - before[each][1])
        for each, (messages, pageviews) in now().items()
        if (messages, pageviews) != before[each]
    }


async def test_a_request_alone_is_published_at_once_and_answered_when_it_is_confirmed(
    queue: FakeBroker, publisher: Publisher, counted: Any
) -> None:
    done = publisher.submit([item(1)])
    await turns()
    assert (queue.contents(), done.done(), counted()) == ([[1]], False, {})
    assert value(metrics.MESSAGES_IN_FLIGHT) == 1
    headers = read_headers(queue.messages[0])
    assert (headers.pageviews, headers.registry_version, headers.repeated, headers.first_position) == (1, 42, False, 0)

    await queue.confirm()
    assert done.done()
    assert done.exception() is None
    assert counted() == {"confirmed": (1, 1)}
    assert (value(metrics.MESSAGES_IN_FLIGHT), value(metrics.PAGEVIEWS_WAITING)) == (0, 0)


async def test_what_arrives_in_one_turn_of_the_loop_or_while_all_are_in_flight_shares_a_message(
    queue: FakeBroker, publisher: Publisher
) -> None:
    waiting = []
    for number in range(MAX_IN_FLIGHT):
        waiting += [publisher.submit([item(2 * number)]), publisher.submit([item(2 * number + 1)])]
        await turns()
    assert queue.contents() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    waiting += [publisher.submit([item(10), item(11)]), publisher.submit([item(12)])]
    await turns()
    assert len(queue.messages) == MAX_IN_FLIGHT

    await queue.confirm(2)
    assert queue.contents()[MAX_IN_FLIGHT:] == [[10, 11, 12]]
    assert [each.done() for each in waiting] == [False] * 4 + [True] * 2 + [False] * 4
    for number in (0, 1, 3, 4):
        await queue.confirm(number)
    assert all(each.done() and each.exception() is None for each in waiting)
    assert len({each.message_id for each in queue.messages}) == MAX_IN_FLIGHT + 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        *((NotPublished(reason), reason) for reason in REFUSALS),
        (PublishUncertain(), Reason.UNKNOWN_FATE),
        (ZeroDivisionError(), Reason.UNKNOWN_FATE),
    ],
    ids=[*(reason.label for reason in REFUSALS), "uncertain", "fault of our own"],
)
async def test_each_of_a_message_that_failed_is_told_why(
    queue: FakeBroker, publisher: Publisher, counted: Any, failure: Exception, reason: Reason
) -> None:
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)  # a fault of our own ends its task, which the log tells
    waiting = [publisher.submit([item(1)]), publisher.submit([item(2), item(3)])]
    await turns()
    await queue.confirm(0, failure)
    told = [each.exception() for each in waiting]
    assert [(type(each), cast("Rejected", each).reason) for each in told] == [(Rejected, reason)] * 2
    messages = 0 if isinstance(failure, ZeroDivisionError) else 1
    assert counted() == {reason.label: (messages, 3)}

    again = publisher.submit([item(4)])  # and the next is published as ever
    await turns()
    await queue.confirm(1)
    assert again.exception() is None
    loop.set_exception_handler(handler)


@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.label)
async def test_while_nothing_can_be_published_requests_are_told_so_at_once(
    queue: FakeBroker, publisher: Publisher, counted: Any, reason: Reason
) -> None:
    sent = [publisher.submit([item(number)]) for number in range(2)]
    await turns()
    for _ in range(MAX_IN_FLIGHT - 1):
        publisher.submit([item(7)])
        await turns()
    waiting = publisher.submit([item(9)])

    queue.unavailable_reason = reason
    queue.on_change()
    with pytest.raises(Rejected) as refused:
        publisher.submit([item(3)])
    assert refused.value.reason is reason
    assert cast("Rejected", waiting.exception()).reason is reason, "what waits is not taken"
    assert not any(each.done() for each in sent), "what was sent may still be confirmed"
    await turns()
    queue.unavailable_reason = None
    queue.on_change()
    await queue.confirm(0)
    assert [each.exception() for each in sent] == [None, None]
    assert len(queue.messages) == MAX_IN_FLIGHT, "what was told to be not taken is not published"
    assert counted() == {"confirmed": (1, 2)}


async def test_a_message_is_as_large_as_it_may_be_and_no_larger(
    queue: FakeBroker, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message, "MAX_PAGEVIEWS", 4)
    for numbers in ([1, 2], [3, 4], [5], [6, 7, 8], [9, 10, 11, 12, 13], [14]):
        publisher.submit([item(number) for number in numbers])
    await turns()
    assert queue.contents() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12, 13], [14]]


async def test_and_as_many_bytes(queue: FakeBroker, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "MAX_BYTES", 4)
    for numbers in ([1, 2], [3, 4], [5], [6, 7, 8], [9, 10, 11, 12, 13], [14]):
        publisher.submit([item(number) for number in numbers])
    await turns()
    assert queue.contents() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12, 13], [14]]


async def test_who_has_gone_is_not_published_and_leaves_room_for_others(
    queue: FakeBroker, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message, "MAX_PAGEVIEWS", 2)
    waiting = [publisher.submit([item(number)]) for number in range(3)]
    waiting[1].cancel()
    await turns()
    assert queue.contents() == [[0, 2]]
    waiting[0].cancel()  # its message is on the way; the other one is answered
    await queue.confirm()
    assert waiting[2].exception() is None
    publisher.submit([item(9)]).cancel()
    await turns()
    assert len(queue.messages) == 1, "no message without pageviews"


@pytest.mark.parametrize(("most", "fits"), [("MAX_WAITING", 6), ("MAX_WAITING_BYTES", 6)])
async def test_what_waits_is_bounded_and_room_comes_back(
    queue: FakeBroker, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, most: str, fits: int
) -> None:
    monkeypatch.setattr(publish, most, fits)
    for _ in range(MAX_IN_FLIGHT):
        publisher.submit([item(0)])
        await turns()
    for _ in range(3):
        publisher.submit([item(1), item(2)])
    with pytest.raises(Rejected) as refused:
        publisher.submit([item(3)])
    assert refused.value.reason is Reason.BUFFER_FULL
    await queue.confirm()
    assert queue.contents()[-1] == [1, 2] * 3
    assert not publisher.submit([item(3)]).done()


async def test_bounds_are_those_of_the_design() -> None:
    assert (publish.MAX_IN_FLIGHT, publish.MAX_WAITING, publish.MAX_WAITING_BYTES) == (4, 50_000, 64 * 2**20)
    assert (message.MAX_PAGEVIEWS, message.MAX_BYTES) == (500, 256 * 1024)

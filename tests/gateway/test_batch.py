"""A batch cut into messages at any place: none is too large, each item is in one, and is told what became of it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch import Batch
from gateway.items import Items
from gateway.replies import Reason, Rejected
from gateway.results import Results
from gateway.slices import Slices
from shared import message
from shared.registry import Client
from tests.garbage import collecting_nothing

CLIENT = Client(b"c" * 16, "edge")
KEY: Any = object()
NOTHING: Any = None
MOST, MOST_BYTES = 4, 100


class Item(NamedTuple):
    """An item that is packed into so many bytes, or rejected where that is 0."""

    size: int
    number: int = 0

    @property
    def packed(self) -> bytes:
        return bytes([self.number]) * self.size


class FakeItems:
    """Items, each of which takes `length` bytes of the body."""

    def __init__(self, items: Sequence[Item], length: int = 1) -> None:
        self._items = items
        self._length = length

    def __len__(self) -> int:
        return len(self._items)

    def end(self, index: int) -> int:
        return (index + 1) * self._length

    def parse(self, index: int) -> Any:
        return self._items[index]


class FakeIntake:
    def __init__(self) -> None:
        self.asked: list[tuple[Client, int, Any]] = []

    def pack(self, item: Item, client: Client, received_ms: int, key: Any) -> bytes:
        self.asked.append((client, received_ms, key))
        if not item.size:
            raise Rejected(Reason.INVALID, f"item {item.number}")
        return item.packed


class FakePublisher:
    """Confirms, or not, by the order of its messages, later than it was asked, and notes how many are out at most."""

    def __init__(self, fates: Sequence[Reason | None]) -> None:
        self.fates = list(fates)
        self.messages: list[list[bytes]] = []
        self.out = self.most_out = 0

    def submit(self, packed: Sequence[bytes]) -> asyncio.Future[None]:
        number = len(self.messages)
        self.messages.append(list(packed))
        fate = self.fates[number % len(self.fates)]
        if fate is Reason.BUFFER_FULL:
            raise Rejected(fate)
        self.out += 1
        self.most_out = max(self.out, self.most_out)
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def answer() -> None:
            self.out -= 1
            if fate is None:
                done.set_result(None)
            else:
                done.set_exception(Rejected(fate))

        loop.call_later(0, lambda: loop.call_soon(answer))
        return done


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (message.MAX_PAGEVIEWS, message.MAX_BYTES) == (500, 256 * 1024)
    monkeypatch.setattr(message, "MAX_PAGEVIEWS", MOST)
    monkeypatch.setattr(message, "MAX_BYTES", MOST_BYTES)


async def publish(
    items: Sequence[Item], publisher: FakePublisher, length: int = 1, slices: Slices | None = None
) -> tuple[Results, FakeIntake]:
    intake: Any = FakeIntake()
    sent: Any = publisher
    given: Items = FakeItems(items, length)  # type: ignore[assignment]
    return await Batch(intake, sent, CLIENT, KEY, slices or Slices()).publish(given), intake


def cut(items: Sequence[Item]) -> list[list[int]]:
    """Return which items go into which message: each that does not fit into the last begins another."""
    cuts: list[list[int]] = []
    size = 0
    for index, item in enumerate(items):
        if not item.size:
            continue
        if not cuts or len(cuts[-1]) == MOST or size + item.size > MOST_BYTES:
            cuts.append([])
            size = 0
        cuts[-1].append(index)
        size += item.size
    return cuts


sizes = st.sampled_from([0, 1, 24, 25, 26, 49, 50, 51, 99, 100])
fates = st.lists(st.sampled_from([None, None, Reason.BUFFER_FULL, Reason.UNKNOWN_FATE]), min_size=1, max_size=5)


@given(st.lists(sizes, max_size=40), fates)
async def test_each_good_item_is_in_one_message_in_order_and_is_told_what_became_of_it(
    sizes: list[int], fates: list[Reason | None]
) -> None:
    items = [Item(size, number) for number, size in enumerate(sizes)]
    publisher = FakePublisher(fates)
    results, intake = await publish(items, publisher)

    cuts = cut(items)
    assert publisher.messages == [[items[index].packed for index in indexes] for indexes in cuts]
    ends: list[Reason | None] = [Reason.INVALID] * len(items)
    for number, indexes in enumerate(cuts):
        for index in indexes:
            ends[index] = publisher.fates[number % len(fates)]
    assert results.accepted == ends.count(None)
    assert {error.item: error.reason for error in results.errors} == {
        index: end for index, end in enumerate(ends) if end is not None
    }
    assert publisher.most_out <= 4, "of one batch, so many wait for their confirm"
    assert [(client, key) for client, _, key in intake.asked] == [(CLIENT, KEY)] * len(items)
    assert len({received for _, received, _ in intake.asked}) <= 1, "one time of receipt for all"


async def test_the_time_of_receipt_is_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_780_000_000_123_999_999)
    _, intake = await publish([Item(1)], FakePublisher([None]))
    [(_, received_ms, _)] = intake.asked
    assert (received_ms, type(received_ms)) == (1_780_000_000_123, int)


async def test_no_more_than_four_messages_wait_for_their_confirm() -> None:
    publisher = FakePublisher([None])
    results, _ = await publish([Item(MOST_BYTES)] * 20, publisher)
    assert (publisher.most_out, len(publisher.messages), results.accepted) == (4, 20, 20)


class CountedSlices(Slices):
    """Slices that are over at once."""

    taken = 0

    def over(self) -> bool:
        return True

    async def next(self) -> None:
        self.taken += 1


@pytest.mark.parametrize(
    ("items", "length", "looks"),
    [
        (1, 1, 1),
        (8, 1, 1),
        (9, 1, 2),
        (16, 1, 2),
        (17, 1, 3),
        (2, 16 * 1024, 1),
        (2, 16 * 1024 + 1, 2),
        (7, 8 * 1024 + 1, 4),
    ],
)
async def test_others_get_their_turn_after_so_many_items_or_bytes(items: int, length: int, looks: int) -> None:
    slices = CountedSlices()
    await publish([Item(0)] * items, FakePublisher([None]), length, slices)
    assert slices.taken == looks


@pytest.mark.parametrize("fate", [None, Reason.BUFFER_FULL, Reason.BROKER_REFUSED, Reason.UNKNOWN_FATE])
async def test_nothing_of_a_batch_is_left_to_the_garbage_collector(fate: Reason | None) -> None:
    """While the queue is full, all that clients send again and again would stay until the next collection."""
    with collecting_nothing():
        items: Any = FakeItems([Item(10)] * 30)
        batch = Batch(cast("Any", FakeIntake()), cast("Any", FakePublisher([fate])), CLIENT, KEY, Slices())
        assert bool((await batch.publish(items)).errors) is (fate is not None)
        left, batch = weakref.ref(batch), NOTHING
        await asyncio.sleep(0)
        assert left() is None

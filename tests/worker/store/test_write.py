"""The way of a batch by itself: what is inserted, what is left for later, and what is settled with what."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message import Headers
from shared.outcomes import Outcome
from tests.worker.deliveries import FakeDelivery
from tests.worker.factories import SITE
from tests.worker.store.test_revise import row_of
from worker.delivery import PageviewOutcome, Poison, ProcessedMessage
from worker.store.batch import Batch, PositionedRow
from worker.store.insert import RefusedRow
from worker.store.outcomes import NOTHING_EARLIER, Earlier
from worker.store.write import BatchWriter

BOUNDARY = 1_000
STORED = PageviewOutcome(1_780_000_020, SITE.site_id, b"c" * 16, Outcome.STORED)


class Parts:
    """Stands for the look-up, the inserter and the settler, and notes what each is given."""

    def __init__(self, refused: frozenset[int] = frozenset(), earlier: Earlier = NOTHING_EARLIER) -> None:
        self.refused = refused
        self.earlier = earlier
        self.stored: dict[Any, bytes] = {}
        self.looked_up: list[Sequence[ProcessedMessage]] = []
        self.inserted: list[tuple[list[int], bool]] = []
        self.settled: list[tuple[list[ProcessedMessage], Earlier]] = []

    async def stored_of(self, messages: Sequence[ProcessedMessage]) -> Mapping[Any, bytes]:
        self.looked_up.append(messages)
        return self.stored

    async def counted(self, messages: Sequence[ProcessedMessage]) -> Earlier:
        assert messages == self.looked_up[-1]
        return self.earlier

    async def insert(self, rows: Sequence[PositionedRow], *, again: bool) -> list[RefusedRow]:
        assert type(again) is bool
        self.inserted.append(([row.row.timestamp_ms for row in rows], again))
        return [RefusedRow(row, "cause") for row in rows if row.row.timestamp_ms in self.refused]

    async def settle(self, messages: Sequence[ProcessedMessage], earlier: Earlier) -> None:
        self.settled.append((list(messages), earlier))

    def writer(self) -> BatchWriter:
        some: Any = self
        return BatchWriter(some, some, some)


def message(*times: int, seen: bool = False, repeated: bool = False, number: int = 0) -> ProcessedMessage:
    rows = {place: row_of(timestamp_ms=time) for place, time in enumerate(times)}
    batch_id = uuid.UUID(int=number) if number else uuid.uuid4()
    headers = Headers(batch_id, len(times), 0, repeated=repeated)
    delivery = FakeDelivery(redelivered=seen)
    outcomes = dict.fromkeys(rows, STORED)
    return ProcessedMessage(delivery, headers, rows, outcomes, (), 1, times, reopen=lambda: times)


def batch_of(*messages: ProcessedMessage) -> Batch:
    batch = Batch(0)
    for each in messages:
        batch.add(each)
    return batch


times = st.sampled_from([1, BOUNDARY - 1, BOUNDARY, BOUNDARY + 1, 5_000])


@given(st.lists(st.tuples(st.lists(times, max_size=4), st.booleans()), min_size=1, max_size=4), st.sets(times))
async def test_old_rows_are_left_and_each_message_is_settled_once_all_of_it_is_inserted(
    plans: list[tuple[list[int], bool]], refused: set[int]
) -> None:
    messages = [message(*times, seen=seen) for times, seen in plans]
    parts = Parts(frozenset(refused))
    left = await parts.writer().write(batch_of(*messages), BOUNDARY)

    recent = [time for times, _ in plans for time in times if time >= BOUNDARY]
    again = any(seen for _, seen in plans)
    assert parts.inserted == ([(recent, again)] if recent else [])
    with_old = [index for index, (times, _) in enumerate(plans) if min(times, default=BOUNDARY) < BOUNDARY]
    assert [each.delivery for each in left] == [messages[index].delivery for index in with_old]
    for each, index in zip(left, with_old, strict=True):
        assert [row.timestamp_ms for row in each.rows.values()] == [time for time in plans[index][0] if time < BOUNDARY]
        assert list(each.outcomes) == list(messages[index].outcomes), "all are counted once it is settled"
    [(settled, earlier)] = parts.settled
    assert earlier is NOTHING_EARLIER
    assert [each.delivery for each in settled] == [
        each.delivery for index, each in enumerate(messages) if index not in with_old
    ]
    for each in settled:
        bad = [place for place, time in enumerate(each.times) if time in refused]
        assert [poison.position for poison in each.poison] == bad
        assert [place for place, end in each.outcomes.items() if end.outcome == Outcome.DEAD_LETTERED] == bad


async def test_without_a_boundary_all_is_inserted_at_once() -> None:
    parts = Parts()
    batch = batch_of(message(1, 5_000), message(2))
    assert await parts.writer().write(batch) == []
    assert parts.inserted == [([1, 5_000, 2], False)]
    assert parts.settled == [(batch.messages, NOTHING_EARLIER)], "unchanged"


async def test_a_batch_without_rows_inserts_nothing() -> None:
    parts = Parts()
    batch = batch_of(message())
    await parts.writer().write(batch)
    assert parts.inserted == []
    assert parts.settled == [(batch.messages, NOTHING_EARLIER)]


@pytest.mark.parametrize("boundary", [None, BOUNDARY, 2])
async def test_what_was_counted_before_goes_to_whatever_settles(boundary: int | None) -> None:
    seen, new = message(1, 5_000, seen=True), message(5_000)
    earlier = NOTHING_EARLIER._replace(versions={(b"x", 0): 7})
    parts = Parts(earlier=earlier)
    parts.stored = {(seen.headers.batch_id.bytes, 0): b"o" * 16, (new.headers.batch_id.bytes, 0): b"o" * 16}
    assert await parts.writer().write(batch_of(seen, new), boundary) == []
    assert parts.looked_up == [[seen]], "what was never seen before is not looked up"
    assert parts.inserted == [([5_000, 5_000], True)], "what was found is not inserted again"
    [(settled, told)] = parts.settled
    assert told is earlier
    assert [end.site_id for each in settled for end in each.outcomes.values()] == [
        b"o" * 16,
        SITE.site_id,
        SITE.site_id,
    ]


async def test_nothing_becomes_of_a_letter_whose_message_ended_otherwise() -> None:
    letter = message(1, repeated=True, number=7)
    letter = ProcessedMessage(
        letter.delivery, letter.headers, letter.rows, letter.outcomes, (Poison(0, (), "why"),), 1, letter.times
    )
    parts = Parts(earlier=NOTHING_EARLIER._replace(counted={uuid.UUID(int=7)}))
    await parts.writer().write(batch_of(letter))
    [([settled], _)] = parts.settled
    assert (settled.rows, settled.outcomes, settled.poison) == ({}, {}, ())
    assert settled.delivery is letter.delivery, "it is acknowledged"
    assert parts.inserted == []


async def test_an_abandoned_insert_is_killed() -> None:
    class Killing(Parts):
        killed = 0

        async def kill_running(self) -> None:
            self.killed += 1

    parts = Killing()
    await parts.writer().abandon()
    assert parts.killed == 1


class Traces:
    """Notes what is told of inserts."""

    def __init__(self) -> None:
        self.told: list[tuple[Sequence[ProcessedMessage], int, int]] = []

    def inserted(self, messages: Sequence[ProcessedMessage], rows: int, began_ns: int) -> None:
        self.told.append((messages, rows, began_ns))


async def test_an_insert_is_traced_with_its_messages_and_when_it_began() -> None:
    some, traces = Parts(), Traces()
    parts: Any = some
    before_ns, messages = time.time_ns(), [message(5_000, 5_001), message(5_002)]
    await BatchWriter(parts, parts, parts, traces).write(batch_of(*messages))  # type: ignore[arg-type]
    [(told, rows, began_ns)] = traces.told
    assert (list(told), rows) == (messages, 3)
    assert before_ns <= began_ns <= time.time_ns()

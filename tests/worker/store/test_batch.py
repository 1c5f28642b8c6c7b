"""What is gathered into one insert, and what must not be in it together; which rows are old."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message import Headers
from tests.worker.deliveries import FakeDelivery
from tests.worker.store.test_revise import row_of
from worker.delivery import ProcessedMessage
from worker.store import batch as batches
from worker.store import lanes
from worker.store.batch import Batch, positioned_rows
from worker.store.lanes import has_old, only


def message(number: int = 1, part: int = 0, *, seen: bool = True, rows: int = 1, size: int = 10) -> ProcessedMessage:
    """Return a message, or with `part` the dead letter of its pageview before that."""
    headers = Headers(uuid.UUID(int=number), rows, 0, first_position=max(0, part - 1), repeated=part > 0)
    positions = range(headers.first_position, headers.first_position + rows)
    made = {each: row_of(timestamp_ms=each) for each in positions}
    return ProcessedMessage(FakeDelivery(redelivered=seen), headers, made, {}, (), size)


def test_a_batch_counts_what_is_in_it() -> None:
    batch = Batch(7.0)
    assert (batch.started, batch.closed, batch.rows, batch.bytes, batch.messages) == (7.0, False, 0, 0, [])
    first, second = message(1, rows=2, size=10), message(2, rows=3, size=30)
    batch.add(first)
    batch.add(second)
    assert (batch.rows, batch.bytes, batch.messages) == (5, 40, [first, second])
    assert batches.FLUSH_BYTES == 32 * 1024 * 1024


messages = st.tuples(st.integers(1, 2), st.integers(0, 3))


@given(st.lists(messages, max_size=4), messages)
def test_two_deliveries_of_one_pageview_are_never_in_one_batch(
    some: list[tuple[int, int]], other: tuple[int, int]
) -> None:
    """Part 0 is the whole message; the letters of two of its pageviews are two things."""
    batch = Batch(0)
    for number, part in some:
        batch.add(message(number, part))
    number, part = other
    same = [each for which, each in some if which == number]
    assert batch.overlaps(message(number, part)) is any(each == part or 0 in (each, part) for each in same)


def test_what_was_never_seen_before_overlaps_nothing() -> None:
    batch = Batch(0)
    batch.add(message(1, seen=False))
    assert not batch.overlaps(message(1)), "two that share an id by chance are not looked up"
    batch.add(message(2))
    assert not batch.overlaps(message(2, seen=False))


def test_rows_keep_their_order_and_their_place_in_the_message() -> None:
    nothing = ProcessedMessage(FakeDelivery(), None, {}, {}, (), 1)
    found = positioned_rows([message(1, rows=2), nothing, message(2, 4)])
    assert [(row.batch_id, row.position) for row in found] == [
        (uuid.UUID(int=1).bytes, 0),
        (uuid.UUID(int=1).bytes, 1),
        (uuid.UUID(int=2).bytes, 3),
    ]
    assert [row.row.timestamp_ms for row in found] == [0, 1, 3]


@pytest.mark.parametrize(
    ("boundary", "old", "kept"), [(0, False, []), (1, True, [0]), (2, True, [0, 1]), (3, True, [0, 1, 2])]
)
def test_a_row_exactly_at_the_boundary_is_not_old(boundary: int, old: bool, kept: list[int]) -> None:
    made = message(1, rows=3)
    assert has_old(made, boundary) is old
    left: Any = only(made, lambda time_ms: time_ms < boundary)
    assert list(left.rows) == kept
    assert left.outcomes is made.outcomes


def test_old_is_a_month_and_clocks_may_differ_by_a_day() -> None:
    assert lanes.OLD_MS == 31 * 86_400_000
    assert lanes.SURELY_RECENT_MS == 30 * 86_400_000
    assert type(lanes.now_ms()) is int
    assert abs(lanes.now_ms() - time.time() * 1000) < 5_000

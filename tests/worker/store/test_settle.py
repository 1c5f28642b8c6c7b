"""What is confirmed together, what is counted, and how late: settling, step by step."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import Any

import pytest

from shared import metrics
from shared.message import Headers
from shared.outcomes import Outcome
from tests.worker.deliveries import FakeDelivery
from tests.worker.store.test_outcomes import DEAD, STORED
from tests.worker.store.test_revise import ROW
from worker.delivery import PageviewOutcome, Poison, ProcessedMessage
from worker.store import outcomes, settle
from worker.store.outcomes import NOTHING_EARLIER, newest_of
from worker.store.settle import MessageSettler

BATCH, OTHER = uuid.UUID(int=7), uuid.UUID(int=8)


class Parts:
    """Stands for ClickHouse, retries, dead letters, their limit and traces, and notes what they are asked."""

    def __init__(self) -> None:
        self.inserted: list[tuple[Any, ...]] = []
        self.named: list[dict[str, Any]] = []
        self.good: list[int] = []
        self.traced: list[Any] = []

    async def insert(self, table: str, columns: Any, rows: list[Any], **named: Any) -> None:
        self.inserted.append((table, columns, list(rows)))
        self.named.append(named)

    async def until_done(self, operation: Any, name: str) -> Any:
        assert name == "counting outcomes"
        await operation()
        return await operation()  # as after a failure whose insert was done

    async def publish(self, messages: Any) -> None:
        pass

    def record_good(self, count: int) -> None:
        self.good.append(count)

    def acknowledged(self, messages: Any) -> None:
        self.traced.append(list(messages))


def message_of(tag: int, *outcomes: PageviewOutcome, age_s: float = 0) -> ProcessedMessage:
    row = ROW._replace(received_ms=int((time.time() - age_s) * 1000))
    headers = Headers(uuid.UUID(int=tag), len(outcomes), 0)
    return ProcessedMessage(FakeDelivery(delivery_tag=tag), headers, {0: row}, dict(enumerate(outcomes)), (), 1)


async def test_outcomes_are_counted_by_their_names_and_what_is_not_dead_is_good() -> None:
    parts: Any = Parts()
    settler = MessageSettler(parts, parts, parts, parts, parts)
    dropped = STORED._replace(outcome="dnt")
    another = STORED._replace(minute=STORED.minute + 60)
    messages = [message_of(1, STORED, STORED, another, dropped), message_of(2, STORED, DEAD)]
    names = ("dnt", Outcome.STORED, Outcome.DEAD_LETTERED)
    before = [metrics.OUTCOMES.labels(name)._value.get() for name in names]
    await settler.settle(messages, NOTHING_EARLIER)
    after = [metrics.OUTCOMES.labels(name)._value.get() for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 4, 1]
    assert parts.good == [5]
    assert parts.traced == [messages]
    assert [(table, columns, len(rows)) for table, columns, rows in parts.inserted] == [
        ("hitline.outcomes_raw", outcomes.COLUMNS, 2)
    ] * 2
    assert len({each.pop("token") for each in parts.named} - {None}) == 2, "a new token for each attempt"
    assert parts.named == [{"settings": settle._SETTINGS, "column_type_names": outcomes.COLUMN_TYPES}] * 2


async def test_each_message_is_observed_once_by_when_it_was_received() -> None:
    parts: Any = Parts()
    settler = MessageSettler(parts, parts, parts, parts)
    histogram = metrics.STORED_AFTER
    before_s, before = histogram._sum.get(), sum(bucket.get() for bucket in histogram._buckets)
    nothing = dataclasses.replace(message_of(3, STORED), rows={})
    ahead = message_of(4, STORED, age_s=-50)
    await settler.settle(
        [message_of(1, STORED, age_s=100), nothing, message_of(2, STORED, age_s=200), ahead], NOTHING_EARLIER
    )
    assert sum(bucket.get() for bucket in histogram._buckets) == before + 3
    assert 300 <= histogram._sum.get() - before_s < 300.9 + 60, "and none less than 0 s ago"
    assert abs(metrics.STORED_AT._value.get() - time.time()) < 60


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([], []),
        ([9], [[9]]),
        ([2, 2, 1], [[2, 2, 1]]),
        ([2, 2, 2], [[2, 2], [2]]),
        ([5, 1, 4, 1], [[5], [1, 4], [1]]),
        ([1, 9, 1], [[1], [9], [1]]),
    ],
)
def test_so_many_dead_letters_are_confirmed_together(
    sizes: list[int], groups: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "_CONFIRMED_TOGETHER", 5)
    messages = []
    for size in sizes:
        poison = tuple(Poison(each, None, "why") for each in range(size))
        messages.append(dataclasses.replace(message_of(1, *[DEAD] * size), poison=poison))
    assert [[each.poison_pageviews for each in group] for group in settle._in_groups(messages)] == groups


def test_of_several_replicas_the_newest_row_of_each_message_and_part_counts() -> None:
    rows = [
        (BATCH, 0, "a", 5), (OTHER, 0, "b", 9), (BATCH, 0, "c", 7), (BATCH, 0, "d", 6), (BATCH, 1, "e", 1),
        (BATCH, 0, "f", 7),
    ]  # fmt: skip
    assert newest_of(rows) == [(BATCH, 0, "c", 7), (OTHER, 0, "b", 9), (BATCH, 1, "e", 1)]
    assert newest_of([]) == []

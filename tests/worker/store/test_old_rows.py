"""Old months do not hold up today's pageviews, and each message is settled once all of it is stored."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from shared.message import Headers
from shared.outcomes import Outcome
from tests.worker.deliveries import FakeDelivery
from tests.worker.factories import SITE
from tests.worker.store.test_revise import row_of
from worker.consume.old_lane import OldLane
from worker.delivery import PageviewOutcome, ProcessedMessage
from worker.store.batch import Batch, PositionedRow
from worker.store.insert import RefusedRow
from worker.store.lanes import OLD_MS, has_old, now_ms
from worker.store.write import BatchWriter

STORED = PageviewOutcome(1_780_000_020, SITE.site_id, b"c" * 16, Outcome.STORED)
TODAY = now_ms()
OLD_BEFORE = TODAY - OLD_MS


class Engine:
    """Stands for ClickHouse and the broker: notes what was inserted and settled, in order."""

    def __init__(self) -> None:
        self.happened: list[tuple[str, list[int]]] = []
        self.refused: set[int] = set()
        self.may_insert_old = asyncio.Event()

    async def insert(self, rows: Sequence[PositionedRow], *, again: bool) -> list[RefusedRow]:
        assert not again
        if min(row.row.timestamp_ms for row in rows) < OLD_BEFORE:
            await self.may_insert_old.wait()
        self.happened.append(("inserted", [row.row.timestamp_ms for row in rows]))
        return [RefusedRow(row, "VIOLATED_CONSTRAINT") for row in rows if row.row.timestamp_ms in self.refused]

    async def settle(self, messages: Sequence[ProcessedMessage], _: Any) -> None:
        for message in messages:
            times = sorted(message.outcomes)
            self.happened.append(("settled", times))
            assert len(message.poison) == sum(
                outcome.outcome == Outcome.DEAD_LETTERED for outcome in message.outcomes.values()
            )

    async def kill_running(self) -> None:
        self.happened.append(("killed", []))


def message(*times: int) -> ProcessedMessage:
    rows = {number: row_of(timestamp_ms=time) for number, time in enumerate(times)}
    headers = Headers(uuid.uuid4(), len(times), 0)
    outcomes = dict.fromkeys(rows, STORED)
    return ProcessedMessage(FakeDelivery(), headers, rows, outcomes, (), 100, times, reopen=lambda: times)


def batch_of(*messages: ProcessedMessage) -> Batch:
    batch = Batch(0)
    for each in messages:
        batch.add(each)
    return batch


def writer(engine: Engine) -> BatchWriter:
    return BatchWriter(engine, engine, engine)  # type: ignore[arg-type]


async def test_todays_rows_are_stored_and_settled_while_old_ones_of_the_same_message_wait() -> None:
    engine = Engine()
    lane = OldLane(writer(engine), 1000)
    months = [OLD_BEFORE - number * 2_600_000_000 for number in range(1, 4)]
    mixed, todays = message(TODAY, *months), message(TODAY + 1, TODAY + 2)

    left = await writer(engine).write(batch_of(mixed, todays), OLD_BEFORE)
    for each in left:
        lane.add(each)
    lane.check(0, at_once=False)
    await asyncio.sleep(0)

    assert engine.happened == [("inserted", [TODAY, TODAY + 1, TODAY + 2]), ("settled", [0, 1])]
    assert not lane.idle
    engine.may_insert_old.set()
    while not lane.idle:
        await asyncio.sleep(0)
        lane.check(0, at_once=False)
    assert engine.happened[2:] == [("inserted", months), ("settled", [0, 1, 2, 3])]


async def test_a_row_that_is_refused_in_either_insert_is_poison_once() -> None:
    engine = Engine()
    engine.may_insert_old.set()
    old = OLD_BEFORE - 1
    engine.refused = {TODAY, old}

    (left,) = await writer(engine).write(batch_of(message(TODAY, old, TODAY + 1)), OLD_BEFORE)
    assert has_old(left, OLD_BEFORE)
    await writer(engine).write(batch_of(left))

    assert engine.happened == [
        ("inserted", [TODAY, TODAY + 1]), ("inserted", [old]), ("settled", [0, 1, 2]),
    ]  # fmt: skip


async def test_what_waits_is_written_together_and_an_abandoned_insert_is_killed() -> None:
    engine = Engine()
    lane = OldLane(writer(engine), 1000)
    for number in range(1, 5):
        lane.add(message(OLD_BEFORE - number))
    lane.check(3600, at_once=False)
    assert lane.due_in_s(3600) is not None, "one that is not old enough was begun"
    lane.check(3600, at_once=True)
    lane.add(message(OLD_BEFORE - 5))
    engine.may_insert_old.set()
    while not lane.idle:
        await asyncio.sleep(0)
        lane.check(0, at_once=False)
    assert [times for what, times in engine.happened if what == "inserted"] == [
        [OLD_BEFORE - 1, OLD_BEFORE - 2, OLD_BEFORE - 3, OLD_BEFORE - 4], [OLD_BEFORE - 5],
    ]  # fmt: skip

    engine.may_insert_old.clear()
    lane.add(message(OLD_BEFORE - 9))
    lane.check(0, at_once=False)
    await asyncio.sleep(0)
    await lane.abandon()
    assert engine.happened[-1] == ("killed", [])

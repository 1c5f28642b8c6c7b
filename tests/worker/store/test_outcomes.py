"""Every pageview has one outcome, in any order of dead-lettering, redelivery and replay."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from shared.message import Headers
from shared.outcomes import Outcome
from tests.worker.deliveries import FakeDelivery
from worker.delivery import PageviewOutcome, ProcessedMessage
from worker.store.outcomes import NOTHING_EARLIER, Earlier, outcome_row, read_earlier
from worker.store.revise import revise

BATCH = uuid.UUID(int=7)
MINUTE = 1_780_000_020
STORED = PageviewOutcome(MINUTE, b"s" * 16, b"c" * 16, Outcome.STORED)
DEAD = PageviewOutcome(MINUTE, bytes(16), b"c" * 16, Outcome.DEAD_LETTERED)


def processed(outcomes: list[PageviewOutcome], *, part_of: int | None = None) -> ProcessedMessage:
    """A message with these outcomes, or the replay of the pageview at position `part_of`."""
    first, repeated = (0, False) if part_of is None else (part_of, True)
    headers = Headers(BATCH, len(outcomes), 0, first, repeated)
    return ProcessedMessage(FakeDelivery(redelivered=True), headers, {}, dict(enumerate(outcomes, first)), (), size=0)


class Table:
    """What ClickHouse makes of the rows: the newest of a key counts."""

    def __init__(self) -> None:
        self.rows: dict[int, list[Any]] = {}
        self.versions: dict[int, int] = {}
        self.clock = 1_000

    def earlier(self) -> Earlier:
        return read_earlier(
            [
                uuid.UUID(int=row[0].int), row[1], [datetime.fromtimestamp(minute, UTC) for minute in row[3]],
                [uuid.UUID(int=site) for site in row[4]], [uuid.UUID(int=client) for client in row[5]], *row[6:10],
                self.versions[row[1]],
            ]
            for row in self.rows.values()
        )  # fmt: skip

    def put(self, message: ProcessedMessage, earlier: Earlier | None = None) -> None:
        earlier = self.earlier() if earlier is None else earlier
        row = outcome_row(revise(message, replayed=earlier.replayed), earlier)
        version = max(self.clock, row[10] + 1)
        if version > self.versions.get(row[1], 0):
            self.rows[row[1]], self.versions[row[1]] = row, version

    def totals(self) -> dict[str, int]:
        total = Counter[str]()
        for row in self.rows.values():
            for outcome, count in zip(row[6], row[7], strict=True):
                total[outcome] += count
        return {outcome: count for outcome, count in total.items() if count}


def test_a_replayed_pageview_is_taken_back_from_the_dead() -> None:
    table = Table()
    table.put(processed([STORED, DEAD]), NOTHING_EARLIER)
    assert table.totals() == {"stored": 1, "dead_lettered": 1}
    table.put(processed([STORED], part_of=1))
    table.put(processed([STORED], part_of=1))  # a second letter of it
    assert table.totals() == {"stored": 2}


def test_one_that_dies_again_and_again_is_dead_once() -> None:
    table = Table()
    table.put(processed([STORED, DEAD]), NOTHING_EARLIER)
    for other in (DEAD, DEAD._replace(client_id=b"d" * 16), DEAD):
        table.put(processed([other], part_of=1))
        assert table.totals() == {"stored": 1, "dead_lettered": 1}
    table.put(processed([STORED], part_of=1))
    assert table.totals() == {"stored": 2}


def test_a_message_that_comes_again_after_a_replay_leaves_it_alone() -> None:
    table = Table()
    table.put(processed([STORED, DEAD]), NOTHING_EARLIER)
    table.put(processed([STORED], part_of=1))
    table.put(processed([STORED, STORED]))
    assert table.totals() == {"stored": 2}


def test_a_letter_whose_message_came_to_another_end_later_counts_nothing() -> None:
    table = Table()
    table.put(processed([STORED, DEAD]), NOTHING_EARLIER)
    table.put(processed([STORED, STORED]))  # a worker with the right key
    table.put(processed([STORED], part_of=1))
    assert table.totals() == {"stored": 2}


def test_outcomes_that_only_a_newer_version_knows_are_kept_and_taken_back() -> None:
    table = Table()
    table.put(processed([STORED, STORED._replace(outcome="of_a_newer_version"), DEAD]), NOTHING_EARLIER)
    table.put(processed([STORED], part_of=2))
    assert table.totals() == {"stored": 2, "of_a_newer_version": 1}

    refused = "rejected_by_a_newer_version"
    table.rows[3][6:8] = [[refused, "dead_lettered"], [1, -1]]  # a newer worker's word on the replayed pageview
    table.rows[3][3:6] = [each * 2 for each in table.rows[3][3:6]]
    table.rows[3][3:6] = [each[:2] for each in table.rows[3][3:6]]
    table.put(processed([STORED, STORED, STORED]))
    assert table.totals() == {"stored": 2, refused: 1}


def test_the_later_count_wins_also_after_the_clock_was_set_back() -> None:
    table = Table()
    table.put(processed([STORED, DEAD]), NOTHING_EARLIER)
    for clock in (2_000, 10, 2_000, 20):
        table.clock = clock
        table.put(processed([STORED] * 2 if clock < 100 else [STORED, DEAD]))
        assert table.totals() == ({"stored": 2} if clock < 100 else {"stored": 1, "dead_lettered": 1})


def test_what_was_folded_stays() -> None:
    """The row that stands for a folded message is never replaced, whatever comes of the message now."""
    table = Table()
    table.put(processed([STORED, STORED]), NOTHING_EARLIER)
    table.rows[0][3:8] = [[], [], [], [], []]
    table.versions[0] = (1 << 63) + 5
    table.put(processed([STORED, DEAD]))
    assert table.totals() == {}


def test_a_replay_that_counted_nothing_never_does() -> None:
    """Its message was counted otherwise, which is not there to see any more once it is folded and its month done."""
    table = Table()
    table.put(processed([STORED, DEAD]), NOTHING_EARLIER)
    table.put(processed([STORED, STORED]))
    table.put(processed([DEAD], part_of=1))
    del table.rows[0]
    table.put(processed([STORED], part_of=1))
    assert table.totals() == {}

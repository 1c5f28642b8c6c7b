"""The outcomes of a message's pageviews as a row of `outcomes_raw` (deploy/schema/0002_outcomes.sql and 0004)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from shared.outcomes import Outcome
from worker.delivery import PageviewKey, PageviewOutcome, ProcessedMessage

COLUMNS: Final = (
    "batch_id", "part", "day", "minutes", "sites", "clients", "outcomes", "counts", "dead_positions", "dead_entries",
    "after",
)  # fmt: skip
COLUMN_TYPES: Final = (
    "UUID", "UInt16", "Date", "Array(DateTime('UTC'))", "Array(UUID)", "Array(UUID)",
    "Array(LowCardinality(String))", "Array(Int32)", "Array(UInt16)", "Array(UInt16)",
    "UInt64",
)  # fmt: skip


def outcome_row(message: ProcessedMessage, earlier: Earlier) -> list[Any]:
    """Return the row of a message; `earlier` is what `outcomes_raw` says about messages that were seen before."""
    key = message.key
    counts = message.counts()
    dead = dead_outcomes(message) if any(each.outcome == Outcome.DEAD_LETTERED for each in counts) else {}
    if key.part > 0:
        dead = {}
        if ended_otherwise(message, earlier):
            counts.clear()
        elif (pageview := (key.batch_id.bytes, key.part - 1)) in earlier.dead:
            counts[earlier.dead[pageview]] -= 1
    outcomes = sorted(counts)
    minutes, sites, clients, names = zip(*outcomes, strict=True) if outcomes else ((), (), (), ())
    entries = {outcome: number for number, outcome in enumerate(outcomes, 1)} if dead else {}
    return [
        key.batch_id,
        key.part,
        key.day,
        minutes,
        list(map(int.from_bytes, sites)),  # a message may have five hundred sites
        list(map(int.from_bytes, clients)),
        list(map(str, names)),
        [counts[outcome] for outcome in outcomes],
        list(dead),
        [entries[outcome] for outcome in dead.values()],
        earlier.versions.get((key.batch_id.bytes, key.part), 0),
    ]


def ended_otherwise(message: ProcessedMessage, earlier: Earlier) -> bool:
    """Return whether this replays a dead letter whose message came to another outcome later, and counted that.

    A worker was killed between the letter and its message's acknowledgement, and rules or keys changed.  The letter is
    left over: nothing is stored, counted or dead-lettered of it.
    """
    key = message.key
    is_counted = key.batch_id in earlier.counted and (key.batch_id.bytes, key.part - 1) not in earlier.dead
    return key.part > 0 and is_counted


def dead_outcomes(message: ProcessedMessage) -> dict[int, PageviewOutcome]:
    """Return by position the outcomes of pageviews that are dead-lettered one by one, not with a whole message."""
    if message.headers is None:
        return {}
    return {position: each for position, each in message.outcomes.items() if each.outcome == Outcome.DEAD_LETTERED}


class Earlier(NamedTuple):
    """What `outcomes_raw` says already about messages that were seen before."""

    #: Batch ids of messages that were counted.
    counted: set[uuid.UUID]
    #: Pageviews that were counted as dead-lettered with their message.
    dead: dict[PageviewKey, PageviewOutcome]
    #: Pageviews that were replayed since: the outcome under which they were dead-lettered, which the replay took back.
    replayed: dict[PageviewKey, PageviewOutcome]
    #: Versions of the rows that are there, by batch id and part: what replaces one gets a later version than it has,
    #: also while ClickHouse's clock is behind the clock by which it was written.
    versions: dict[tuple[bytes, int], int]


NOTHING_EARLIER: Final = Earlier(set(), {}, {}, {})
EARLIER_COLUMNS: Final = (
    "batch_id, part, minutes, sites, clients, outcomes, counts, dead_positions, dead_entries, version"
)


def newest_of(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return the newest row of each message, of rows of `EARLIER_COLUMNS` from several replicas."""
    newest: dict[tuple[uuid.UUID, int], Sequence[Any]] = {}
    for row in rows:
        key = row[0], row[1]
        if key not in newest or newest[key][-1] < row[-1]:
            newest[key] = row
    return list(newest.values())


#: Rows of this version or a later one stand for a message that was folded into sums (deploy/outcomes): they stay.
_FOLDED: Final = 1 << 63


def read_earlier(rows: Iterable[Sequence[Any]]) -> Earlier:
    """Read rows of `EARLIER_COLUMNS`."""
    earlier = Earlier(set(), {}, {}, {})
    for batch_id, part, minutes, sites, clients, outcomes, counts, positions, entries, version in rows:
        if version < _FOLDED:
            earlier.versions[batch_id.bytes, part] = version
        counted = [
            PageviewOutcome(int(minute.timestamp()), site.bytes, client.bytes, outcome)
            for minute, site, client, outcome in zip(minutes, sites, clients, outcomes, strict=True)
        ]
        if part == 0 or not counts:  # a replay counts nothing where its message was counted otherwise
            earlier.counted.add(batch_id)
        if part == 0:
            for position, entry in zip(positions, entries, strict=True):
                earlier.dead[batch_id.bytes, position] = counted[entry - 1]
        for outcome, count in zip(counted, counts, strict=True):
            if part > 0 and count <= 0:  # 0: it was dead-lettered again, with the same outcome
                earlier.replayed[batch_id.bytes, part - 1] = outcome
    return earlier

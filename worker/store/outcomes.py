"""What became of a message's pageviews, as a row of `outcomes_raw` (deploy/schema/0002_outcomes.sql and 0004)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from shared.outcomes import Outcome
from worker.delivery import PageviewOutcome, ProcessedMessage

COLUMNS: Final = (
    "batch_id", "part", "day", "minutes", "sites", "clients", "outcomes", "counts", "dead_positions", "dead_entries",
)  # fmt: skip
COLUMN_TYPES: Final = (
    "UUID", "UInt16", "Date", "Array(DateTime('UTC'))", "Array(UUID)", "Array(UUID)",
    "Array(LowCardinality(String))", "Array(Int32)", "Array(UInt16)", "Array(UInt16)",
)  # fmt: skip


def outcome_row(processed: ProcessedMessage, earlier: Earlier) -> list[Any]:
    """Return the row of a message; `earlier` is what is known of messages that were seen before."""
    key = processed.key
    counts = processed.counts()
    dead = dead_ends(processed)
    if key.part > 0:
        dead = {}
        place = key.batch_id, key.part - 1
        if place in earlier.died:
            counts[earlier.died[place]] -= 1
        elif key.batch_id in earlier.counted:
            counts.clear()  # a later delivery of the message itself came to another end, and counted that
    ends = sorted(counts)
    entries = {end: number for number, end in enumerate(ends, 1)}
    return [
        key.batch_id,
        key.part,
        key.day,
        [end.minute for end in ends],
        [int.from_bytes(end.site_id, "big") for end in ends],
        [int.from_bytes(end.client_id, "big") for end in ends],
        [str(end.outcome) for end in ends],
        [counts[end] for end in ends],
        list(dead),
        [entries[end] for end in dead.values()],
    ]


def dead_ends(processed: ProcessedMessage) -> dict[int, PageviewOutcome]:
    """Return the ends, by position, of pageviews that are dead-lettered one by one (not with a whole message)."""
    if processed.headers is None:
        return {}
    return {position: end for position, end in processed.outcomes.items() if end.outcome is Outcome.DEAD_LETTERED}


class Earlier(NamedTuple):
    """What outcomes already say about messages that were seen before; positions are those in the message."""

    #: Messages that were counted.
    counted: set[uuid.UUID]
    #: Pageviews that were counted as dead-lettered with their message.
    died: dict[tuple[uuid.UUID, int], PageviewOutcome]
    #: Pageviews that were replayed since, which took this end back.
    replayed: dict[tuple[uuid.UUID, int], PageviewOutcome]


NOTHING_EARLIER: Final = Earlier(set(), {}, {})
EARLIER_COLUMNS: Final = "batch_id, part, minutes, sites, clients, outcomes, counts, dead_positions, dead_entries"


def read_earlier(rows: Iterable[Sequence[Any]]) -> Earlier:
    """Read rows of `EARLIER_COLUMNS`."""
    earlier = Earlier(set(), {}, {})
    for batch_id, part, minutes, sites, clients, outcomes, counts, positions, entries in rows:
        ends = [
            PageviewOutcome(int(minute.timestamp()), site.bytes, client.bytes, Outcome(outcome))
            for minute, site, client, outcome in zip(minutes, sites, clients, outcomes, strict=True)
        ]
        if part == 0:
            earlier.counted.add(batch_id)
            for position, entry in zip(positions, entries, strict=True):
                earlier.died[batch_id, position] = ends[entry - 1]
        for end, count in zip(ends, counts, strict=True):
            if part > 0 and count <= 0:  # 0: it died again, and came to the same end
                earlier.replayed[batch_id, part - 1] = end
    return earlier

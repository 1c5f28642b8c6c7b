"""What became of a message's pageviews, as a row of `outcomes_raw` (deploy/schema/0002_outcomes.sql and 0004)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from shared.message import Headers
from shared.outcomes import Outcome
from worker.judge import End, Judged, accepted_at

COLUMNS: Final = (
    "batch_id", "part", "day", "minutes", "sites", "clients", "outcomes", "counts", "dead_positions", "dead_entries",
)  # fmt: skip
COLUMN_TYPES: Final = (
    "UUID", "UInt16", "Date", "Array(DateTime('UTC'))", "Array(UUID)", "Array(UUID)",
    "Array(LowCardinality(String))", "Array(Int32)", "Array(UInt16)", "Array(UInt16)",
)  # fmt: skip


class RowKey(NamedTuple):
    """What names a message's row: a redelivery has the same, and replaces it.

    Part 0 is a message as it was accepted.  The dead letter of a single pageview is a part of its own, its position
    plus 1, when it is replayed; its row takes back what part 0 counted it as, so that every pageview has one end.
    """

    batch_id: uuid.UUID
    part: int
    day: date


def key_of(judged: Judged) -> RowKey:
    """Return the key of a message, openable or not."""
    message: Any = judged.message
    headers = judged.headers
    # The broker's copy of the publisher's clock: the same at each delivery, whatever is made of the body.
    day = accepted_at(message).date()
    if headers is not None:
        return RowKey(headers.batch_id, headers.first_position + 1 if headers.repeated else 0, day)
    given = message.headers or {}
    position = given.get("first_position")
    if given.get("repeated") is True and type(position) is int and 0 <= position < 65_535:
        return RowKey(_batch_id(message), position + 1, day)
    return RowKey(_batch_id(message), 0, day)


def _batch_id(message: Any) -> uuid.UUID:
    try:
        return uuid.UUID(message.message_id)
    except (ValueError, TypeError, AttributeError):
        # Nothing names it: its body does, so that a redelivery counts it under the same name.
        return uuid.uuid5(uuid.NAMESPACE_OID, message.body.hex())


def outcome_row(judged: Judged, earlier: Earlier) -> list[Any]:
    """Return the row of a message; `earlier` is what is known of messages that were seen before."""
    key = key_of(judged)
    counts = judged.counts()
    dead = dead_ends(judged)
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


def dead_ends(judged: Judged) -> dict[int, End]:
    """Return the ends, by position, of pageviews that are dead-lettered one by one (not with a whole message)."""
    if judged.headers is None:
        return {}
    return {position: end for position, end in judged.ends.items() if end.outcome is Outcome.DEAD_LETTERED}


class Earlier(NamedTuple):
    """What outcomes already say about messages that were seen before; positions are those in the message."""

    #: Messages that were counted.
    counted: set[uuid.UUID]
    #: Pageviews that were counted as dead-lettered with their message.
    died: dict[tuple[uuid.UUID, int], End]
    #: Pageviews that were replayed since, which took this end back.
    replayed: dict[tuple[uuid.UUID, int], End]


NOTHING_EARLIER: Final = Earlier(set(), {}, {})
EARLIER_COLUMNS: Final = "batch_id, part, minutes, sites, clients, outcomes, counts, dead_positions, dead_entries"


def read_earlier(rows: Iterable[Sequence[Any]]) -> Earlier:
    """Read rows of `EARLIER_COLUMNS`."""
    earlier = Earlier(set(), {}, {})
    for batch_id, part, minutes, sites, clients, outcomes, counts, positions, entries in rows:
        ends = [
            End(int(minute.timestamp()), site.bytes, client.bytes, Outcome(outcome))
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


def part_headers(headers: Headers, position: int) -> Headers:
    """Return the headers under which one pageview of a message is set aside, and later replayed."""
    return Headers(headers.batch_id, 1, headers.registry_version, first_position=position, repeated=True)

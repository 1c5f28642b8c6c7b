"""What became of a message's pageviews, as a row of `outcomes_raw` (deploy/clickhouse/0002_outcomes.sql)."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from shared.message import Headers
from shared.outcomes import Outcome
from worker.judge import End, Judged

COLUMNS: Final = ("batch_id", "part", "minutes", "sites", "clients", "outcomes", "counts", "version")
COLUMN_TYPES: Final = (
    "UUID", "UInt16", "Array(DateTime('UTC'))", "Array(UUID)", "Array(UUID)", "Array(LowCardinality(String))",
    "Array(Int32)", "UInt64",
)  # fmt: skip
#: Header of a dead letter: under which ends its pageviews were counted when it died.
ENDS_HEADER: Final = "counted_as"


def outcome_row(judged: Judged, version: int) -> list[Any]:
    """Return the row; a newer `version` of the same message replaces it.

    A replayed dead letter takes back what was counted when it died, so that every pageview has one end.
    """
    counts = judged.counts()
    part = 0
    if judged.headers is not None and judged.headers.repeated:
        part = judged.headers.first_position + 1
        counts.subtract(_counted_before(judged.message.headers.get(ENDS_HEADER)))
    ends = sorted(counts)
    return [
        _batch_id(judged),
        part,
        [end.minute for end in ends],
        [int.from_bytes(end.site_id, "big") for end in ends],
        [int.from_bytes(end.client_id, "big") for end in ends],
        [str(end.outcome) for end in ends],
        [counts[end] for end in ends],
        version,
    ]


def _batch_id(judged: Judged) -> uuid.UUID:
    if judged.headers is not None:
        return judged.headers.batch_id
    try:
        return uuid.UUID(judged.message.message_id)
    except (ValueError, TypeError, AttributeError):
        # Nothing names it: its body does, so that a redelivery counts it under the same name.
        return uuid.uuid5(uuid.NAMESPACE_OID, judged.message.body.hex())


def describe_ends(ends: Sequence[End]) -> str:
    """Return a dead letter's `ENDS_HEADER`."""
    counts = Counter(ends)
    return json.dumps([[end.minute, end.site_id.hex(), end.client_id.hex(), count] for end, count in counts.items()])


def _counted_before(described: Any) -> Counter[End]:
    counts: Counter[End] = Counter()
    if isinstance(described, str):
        for minute, site, client, count in json.loads(described):
            counts[End(minute, bytes.fromhex(site), bytes.fromhex(client), Outcome.DEAD_LETTERED)] += count
    return counts


def part_headers(headers: Headers, position: int) -> Headers:
    """Return the headers under which one pageview of a message is set aside, and later replayed."""
    return Headers(headers.batch_id, 1, headers.registry_version, first_position=position, repeated=True)

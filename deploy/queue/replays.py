"""The outcomes of replayed dead letters, read from `outcomes_raw`, where workers count them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final
from uuid import UUID

from shared.clickhouse import ClickHouse

#: Batch id and part, see `worker.delivery.MessageKey`.
Key = tuple[UUID, int]
_POLL_S: Final = 0.3
_IDS: Final = 4_000


async def server_version(clickhouse: ClickHouse) -> int:
    """Return the version that a row written now would get; later rows have a greater one."""
    result = await clickhouse.query("SELECT toUnixTimestamp64Micro(now64(6))")
    version: int = result.result_rows[0][0]
    return version


async def outcomes_of(
    clickhouse: ClickHouse, keys: Collection[Key], since: int, wait_s: float, on_progress: Callable[[int], None]
) -> dict[Key, str]:
    """Wait until these messages have been counted again, after version `since`, and describe their outcomes.

    Those that take longer than `wait_s` are left out: they are still in the queue, and will be counted later.
    """
    found: dict[Key, str] = {}
    deadline = time.monotonic() + wait_s
    while len(found) < len(keys) and time.monotonic() < deadline:
        missing = {key for key in keys if key not in found}
        for ids in _chunks(sorted({batch_id for batch_id, _ in missing})):
            for key, outcome in await _look(clickhouse, ids, since):
                if key in missing:
                    found[key] = outcome
        on_progress(len(found))
        if len(found) < len(keys):
            await asyncio.sleep(_POLL_S)
    return found


async def _look(clickhouse: ClickHouse, ids: Sequence[UUID], since: int) -> list[tuple[Key, str]]:
    quoted = ", ".join(f"'{each}'" for each in ids)
    result = await clickhouse.query(
        "SELECT batch_id, part, outcomes, counts FROM hitline.outcomes_raw FINAL"  # noqa: S608 - formatted UUIDs
        f" WHERE batch_id IN ({quoted}) AND version > {{since:UInt64}}",
        {"since": since},
    )
    return [((batch_id, part), _describe(outcomes, counts)) for batch_id, part, outcomes, counts in result.result_rows]


def _describe(outcomes: Sequence[str], counts: Sequence[int]) -> str:
    """Describe what a row counts: `stored`, `490 stored, 10 dnt`, or `dead_lettered` if nothing has changed."""
    totals = Counter[str]()
    for outcome, count in zip(outcomes, counts, strict=True):
        if count > 0:
            totals[outcome] += count
    if not totals:
        return "dead_lettered" if outcomes else "already counted"
    if len(totals) == 1 and totals.total() == 1:
        return next(iter(totals))
    return ", ".join(f"{count} {outcome}" for outcome, count in totals.most_common())


def _chunks(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(ids), _IDS):
        yield ids[start : start + _IDS]

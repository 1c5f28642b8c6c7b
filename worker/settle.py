"""Ending a message's life: counted, then what is poison set aside, and at last the acknowledgement."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from shared import metrics
from shared.clickhouse import ClickHouse
from shared.outcomes import Outcome
from worker import outcome_rows
from worker.bury import Gravedigger
from worker.judge import Judged
from worker.outcome_rows import Earlier
from worker.poison import PoisonGuard
from worker.retry import Retry

_SETTINGS: Final = {"max_partitions_per_insert_block": 0, "insert_quorum": "auto"}
#: Dead-lettered pageviews that are confirmed together; a message of more goes by itself, as the guard admits it.
_BURIED_TOGETHER: Final = 50


class Settler:
    """Settles the messages of one channel whose rows are stored; each step is durable before the next begins."""

    def __init__(self, clickhouse: ClickHouse, retry: Retry, gravedigger: Gravedigger, guard: PoisonGuard) -> None:
        self._clickhouse = clickhouse
        self._retry = retry
        self._gravedigger = gravedigger
        self._guard = guard
        #: All deliveries of the channel up to this one are acknowledged; of those behind it, which are settled (None:
        #: and acknowledged).
        self._settled_to = 0
        self._settled: dict[int, Any] = {}

    async def settle(self, batch: Sequence[Judged], earlier: Earlier) -> None:
        """Count what became of all, set aside what is poison, acknowledge; raises what the broker or network raise.

        Counted before it is set aside, so that whoever replays a dead letter finds what to take back.  Messages without
        poison are not held up by those with.
        """
        await self._count(batch, earlier)
        await self._end([judged for judged in batch if not judged.poison])
        for some in _in_groups([judged for judged in batch if judged.poison]):
            await self._gravedigger.bury(some)
            await self._end(some)

    async def _end(self, batch: Sequence[Judged]) -> None:
        await self._acknowledge(batch)
        counts = Counter(end.outcome for judged in batch for end in judged.ends.values())
        for outcome, count in counts.items():
            metrics.OUTCOMES.labels(outcome).inc(count)
        self._guard.saw_good(counts.total() - counts[Outcome.DEAD_LETTERED])

    async def _acknowledge(self, batch: Sequence[Judged]) -> None:
        """Acknowledge all at once up to the first message that is not settled, and what is behind it one by one.

        A broker numbers a channel's deliveries 1, 2, 3 (AMQP 0-9-1, 1.8.3.13 "delivery-tag"), so that without a gap in
        the numbers nothing unsettled is covered.  It saves a write to the broker's log for every small message.
        """
        for judged in batch:
            self._settled[judged.message.delivery_tag] = judged.message
        last = None
        while (tag := self._settled_to + 1) in self._settled:
            last = self._settled.pop(tag) or last  # one that was acknowledged already may not be named again
            self._settled_to = tag
        if last is not None:
            await last.ack(multiple=True)
        for tag, message in self._settled.items():
            if message is not None:
                await message.ack()
                self._settled[tag] = None

    async def _count(self, batch: Sequence[Judged], earlier: Earlier) -> None:
        rows = [outcome_rows.outcome_row(judged, earlier) for judged in batch]
        await self._retry.forever(
            lambda: self._clickhouse.insert(
                "hitline.outcomes_raw",
                outcome_rows.COLUMNS,
                rows,
                # Another one for each attempt: a server that was killed may know a token whose rows it has lost, and a
                # row that is written twice is replaced.
                token=uuid.uuid4().hex,
                settings=_SETTINGS,
                column_type_names=outcome_rows.COLUMN_TYPES,
            )
        )
        rows.clear()  # as in `Inserter`: the client would keep them


def _in_groups(poisoned: Sequence[Judged]) -> Iterator[list[Judged]]:
    group: list[Judged] = []
    size = 0
    for judged in poisoned:
        if group and size + judged.poisoned > _BURIED_TOGETHER:
            yield group
            group, size = [], 0
        group.append(judged)
        size += judged.poisoned
    if group:
        yield group

"""Ending a message's life: counted, then what is poison set aside, and at last the acknowledgement."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from shared import metrics
from shared.clickhouse import ClickHouse
from shared.outcomes import Outcome
from worker.dead_letters.limiter import DeadLetterLimiter
from worker.dead_letters.publisher import DeadLetterPublisher
from worker.delivery import ProcessedMessage
from worker.store import outcomes
from worker.store.outcomes import Earlier
from worker.store.retry import Retry

_SETTINGS: Final = {"max_partitions_per_insert_block": 0, "insert_quorum": "auto"}
#: Dead-lettered pageviews that are confirmed together; a message of more goes by itself, as the limiter admits it.
_BURIED_TOGETHER: Final = 50


class MessageSettler:
    """Settles the messages of one channel whose rows are stored; each step is durable before the next begins."""

    def __init__(
        self, clickhouse: ClickHouse, retry: Retry, publisher: DeadLetterPublisher, limiter: DeadLetterLimiter
    ) -> None:
        self._clickhouse = clickhouse
        self._retry = retry
        self._publisher = publisher
        self._limiter = limiter
        #: All deliveries of the channel up to this one are acknowledged; of those behind it, which are settled (None:
        #: and acknowledged).
        self._settled_to = 0
        self._settled: dict[int, Any] = {}

    async def settle(self, batch: Sequence[ProcessedMessage], earlier: Earlier) -> None:
        """Count what became of all, set aside what is poison, acknowledge; raises what the broker or network raise.

        Counted before it is set aside, so that whoever replays a dead letter finds what to take back.  Messages without
        poison are not held up by those with.
        """
        await self._count(batch, earlier)
        await self._end([processed for processed in batch if not processed.poison])
        for some in _in_groups([processed for processed in batch if processed.poison]):
            await self._publisher.publish(some)
            await self._end(some)

    async def _end(self, batch: Sequence[ProcessedMessage]) -> None:
        await self._acknowledge(batch)
        counts = Counter(end.outcome for processed in batch for end in processed.outcomes.values())
        for outcome, count in counts.items():
            metrics.OUTCOMES.labels(outcome).inc(count)
        self._limiter.saw_good(counts.total() - counts[Outcome.DEAD_LETTERED])

    async def _acknowledge(self, batch: Sequence[ProcessedMessage]) -> None:
        """Acknowledge all at once up to the first message that is not settled, and what is behind it one by one.

        A broker numbers a channel's deliveries 1, 2, 3 (AMQP 0-9-1, 1.8.3.13 "delivery-tag"), so that without a gap in
        the numbers nothing unsettled is covered.  It saves a write to the broker's log for every small message.
        """
        for processed in batch:
            self._settled[processed.message.delivery_tag] = processed.message
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

    async def _count(self, batch: Sequence[ProcessedMessage], earlier: Earlier) -> None:
        rows = [outcomes.outcome_row(processed, earlier) for processed in batch]
        await self._retry.forever(
            lambda: self._clickhouse.insert(
                "hitline.outcomes_raw",
                outcomes.COLUMNS,
                rows,
                # Another one for each attempt: a server that was killed may know a token whose rows it has lost, and a
                # row that is written twice is replaced.
                token=uuid.uuid4().hex,
                settings=_SETTINGS,
                column_type_names=outcomes.COLUMN_TYPES,
            )
        )
        rows.clear()  # as in `Inserter`: the client would keep them


def _in_groups(poisoned: Sequence[ProcessedMessage]) -> Iterator[list[ProcessedMessage]]:
    group: list[ProcessedMessage] = []
    size = 0
    for processed in poisoned:
        if group and size + processed.poisoned > _BURIED_TOGETHER:
            yield group
            group, size = [], 0
        group.append(processed)
        size += processed.poisoned
    if group:
        yield group

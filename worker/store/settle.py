"""Settling messages: count their outcomes, dead-letter their poison, acknowledge them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from shared import metrics
from shared.clickhouse import ClickHouse
from shared.cluster import LONG_QUORUM
from shared.outcomes import Outcome
from worker.dead_letters.limiter import DeadLetterLimiter
from worker.dead_letters.publisher import DeadLetterPublisher
from worker.delivery import Delivery, ProcessedMessage
from worker.store import outcomes
from worker.store.outcomes import Earlier
from worker.store.retry import Retry

if TYPE_CHECKING:
    from worker.traces import ChannelTraces

_SETTINGS: Final = {"max_partitions_per_insert_block": 0, "insert_quorum": "auto", **LONG_QUORUM}
#: Dead-lettered pageviews that are confirmed together; a message with more is published alone.
_CONFIRMED_TOGETHER: Final = 50


class MessageSettler:
    """Settles the messages of one channel whose rows are stored; each step is durable before the next begins."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        retry: Retry,
        publisher: DeadLetterPublisher,
        limiter: DeadLetterLimiter,
        traces: ChannelTraces | None = None,
    ) -> None:
        self._clickhouse = clickhouse
        self._retry = retry
        self._publisher = publisher
        self._limiter = limiter
        self._traces = traces
        #: Every delivery of the channel up to this tag is acknowledged.
        self._settled_to = 0
        self._acknowledging = asyncio.Lock()  # today's batches and old ones are settled side by side
        #: Settled deliveries beyond that; None for one that is acknowledged already.
        self._settled: dict[int | None, Delivery | None] = {}

    async def settle(self, messages: Sequence[ProcessedMessage], earlier: Earlier) -> None:
        """Count all outcomes, dead-letter what is poison, acknowledge; raises what the broker's connection raises.

        Counting comes first, so that the replay of a dead letter finds the count that it takes back.  Messages without
        poison do not wait for those with poison.
        """
        if not messages:  # all of a batch have old rows left; the client would send nothing, and nothing would answer
            return
        await self._count(messages, earlier)
        await self._acknowledge([message for message in messages if not message.poison])
        for group in _in_groups([message for message in messages if message.poison]):
            await self._publisher.publish(group)
            await self._acknowledge(group)

    def skip(self, delivery_tag: int | None) -> None:
        """Note that a delivery goes back to the queue, so that it leaves no gap in what is acknowledged at once."""
        self._settled[delivery_tag] = None

    async def _acknowledge(self, messages: Sequence[ProcessedMessage]) -> None:
        async with self._acknowledging:
            await self._ack(messages)
        if self._traces is not None:
            self._traces.acknowledged(messages)
        counts = Counter[str]()
        for message in messages:
            counts.update(each.outcome for each in message.outcomes.values())
        for outcome, count in counts.items():
            metrics.OUTCOMES.labels(outcome).inc(count)
        _observe_freshness(messages)
        self._limiter.record_good(counts.total() - counts[Outcome.DEAD_LETTERED])

    async def _ack(self, messages: Sequence[ProcessedMessage]) -> None:
        """Acknowledge everything up to the first unsettled message at once, and later ones one by one.

        A broker numbers a channel's deliveries 1, 2, 3 (AMQP 0-9-1, 1.8.3.13 "delivery-tag"), so as long as the
        numbers have no gap nothing unsettled is covered.  It saves a write to the broker's log per small message.
        """
        for message in messages:
            self._settled[message.delivery.delivery_tag] = message.delivery
        last = None
        while (tag := self._settled_to + 1) in self._settled:
            last = self._settled.pop(tag) or last  # a tag may be acknowledged only once
            self._settled_to = tag
        if last is not None:
            await last.ack(multiple=True)
        for number, delivery in list(self._settled.items()):
            if delivery is not None:
                await delivery.ack()
                self._settled[number] = None

    async def _count(self, messages: Sequence[ProcessedMessage], earlier: Earlier) -> None:
        rows = [outcomes.outcome_row(message, earlier) for message in messages]
        await self._retry.until_done(
            lambda: self._clickhouse.insert(
                "hitline.outcomes_raw",
                outcomes.COLUMNS,
                rows,
                # A new token per attempt: a server that was killed may know a token whose rows it has lost, and a row
                # that is written twice is replaced.
                token=uuid.uuid4().hex,
                settings=_SETTINGS,
                column_type_names=outcomes.COLUMN_TYPES,
            ),
            "counting outcomes",
        )
        rows.clear()  # as in `Inserter`: otherwise the client keeps them


def _observe_freshness(messages: Sequence[ProcessedMessage]) -> None:
    now_s = time.time()
    for message in messages:
        for row in message.rows.values():  # a message's pageviews were received together
            metrics.STORED_AFTER.observe(max(0.0, now_s - row.received_ms / 1000))
            metrics.STORED_AT.set(now_s)
            break


def _in_groups(messages: Sequence[ProcessedMessage]) -> Iterator[list[ProcessedMessage]]:
    """Split messages with poison into groups of at most `_CONFIRMED_TOGETHER` poison pageviews."""
    group: list[ProcessedMessage] = []
    size = 0
    for message in messages:
        if group and size + message.poison_pageviews > _CONFIRMED_TOGETHER:
            yield group
            group, size = [], 0
        group.append(message)
        size += message.poison_pageviews
    if group:
        yield group

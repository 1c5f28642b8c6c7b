"""Ending a message's life: dead letters first, then outcomes, and at last the acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import aio_pika
from aio_pika.abc import AbstractExchange

from shared import message, metrics, queue
from shared.clickhouse import ClickHouse
from shared.pageview import join, pack_item
from shared.seal import Sealer
from worker import outcome_rows
from worker.batch import token_of_texts
from worker.judge import End, Judged, Poison
from worker.retry import Retry

log = logging.getLogger(__name__)

_CONFIRM_S: Final = 30.0


class Settler:
    """Settles messages whose rows are stored; each step is durable before the next begins."""

    def __init__(self, clickhouse: ClickHouse, retry: Retry, exchange: AbstractExchange, sealer: Sealer) -> None:
        self._clickhouse = clickhouse
        self._retry = retry
        self._exchange = exchange
        self._sealer = sealer
        self._worker = socket.gethostname()

    async def settle(self, batch: Sequence[Judged]) -> None:
        """Set aside what is poison, count what became of all, acknowledge; raises what the broker or network raise."""
        for judged in batch:
            for poison in judged.poison:
                await self._set_aside(judged, poison)
        await self._count(batch)
        for judged in batch:
            await judged.message.ack()
        for judged in batch:
            for end, count in judged.counts().items():
                metrics.OUTCOMES.labels(end.outcome).inc(count)

    async def _set_aside(self, judged: Judged, poison: Poison) -> None:
        """Write one dead letter and wait for the broker's confirm; an unopenable message goes as it came, sealed."""
        if poison.position is None or judged.headers is None:
            ends = list(judged.ends.values())
            letter = aio_pika.Message(
                judged.message.body,
                message_id=judged.message.message_id,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                type="hitline.pageviews",
                timestamp=judged.message.timestamp,
                headers={**(judged.message.headers or {}), **self._epitaph(poison.reason, ends)},
            )
        else:
            ends = [judged.ends[poison.position]]
            headers = outcome_rows.part_headers(judged.headers, poison.position)
            more = self._epitaph(poison.reason, ends)
            letter = message.build(headers, join([pack_item(poison.item)]), self._sealer, more)
        async with asyncio.timeout(_CONFIRM_S):
            await self._exchange.publish(letter, queue.DEAD, mandatory=True)
        metrics.DEAD_LETTERS.labels(poison.reason.partition(":")[0]).inc()

    def _epitaph(self, reason: str, ends: Sequence[End]) -> dict[str, str | int]:
        return {
            "reason": reason,
            "died_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "worker": self._worker,
            outcome_rows.ENDS_HEADER: outcome_rows.describe_ends(ends),
        }

    async def _count(self, batch: Sequence[Judged]) -> None:
        version = time.time_ns() // 1000
        rows = [outcome_rows.outcome_row(judged, version) for judged in batch]
        token = token_of_texts(f"{row[0]} {row[1]} {version}" for row in rows)
        await self._retry.forever(
            lambda: self._clickhouse.insert(
                "hitline.outcomes_raw",
                outcome_rows.COLUMNS,
                rows,
                token=token,
                settings={"max_partitions_per_insert_block": 0},
                column_type_names=outcome_rows.COLUMN_TYPES,
            )
        )

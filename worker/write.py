"""What happens to a full batch, in order: look up, insert, set aside, count, acknowledge."""

from __future__ import annotations

from collections.abc import Sequence

from shared import metrics
from shared.outcomes import Outcome
from worker.batch import Batch
from worker.insert import Inserter, PoisonRow
from worker.judge import End, Judged, Poison
from worker.settle import Settler


class BatchWriter:
    """Takes one batch at a time to its end; given up half-way, it leaves everything to a redelivery."""

    def __init__(self, inserter: Inserter, settler: Settler) -> None:
        self._inserter = inserter
        self._settler = settler

    async def write(self, batch: Batch) -> None:
        """Return when every pageview of the batch is stored, dropped or set aside, and its messages acknowledged."""
        if seen_before := [judged for judged in batch.judged if judged.seen_before and judged.ends]:
            await self._leave_out_stored(seen_before)
        if rows := batch.placed():
            self._mark_poison(batch.judged, await self._inserter.insert(rows, batch.span()))
        await self._settler.settle(batch.judged)

    async def _leave_out_stored(self, seen_before: Sequence[Judged]) -> None:
        """Find what earlier deliveries stored: it is not inserted again, and stored it stays, whatever is said now."""
        found = await self._inserter.find_judged(seen_before)
        metrics.ROWS_FOUND.inc(len(found))
        for judged in seen_before:
            if judged.headers is None:
                continue
            batch_id = judged.headers.batch_id.bytes
            for position, end in judged.ends.items():
                site_id = found.get((batch_id, position))
                if site_id is not None:
                    judged.rows.pop(position, None)
                    judged.ends[position] = End(end.minute, site_id, end.client_id, Outcome.STORED)
            judged.poison = [poison for poison in judged.poison if (batch_id, poison.position) not in found]

    @staticmethod
    def _mark_poison(batch: Sequence[Judged], refused: Sequence[PoisonRow]) -> None:
        by_batch_id = {judged.headers.batch_id.bytes: judged for judged in batch if judged.headers is not None}
        for poison in refused:
            judged, position = by_batch_id[poison.row.batch_id], poison.row.position
            pageview = judged.rows.pop(position).pageview
            judged.poison.append(Poison(position, tuple(pageview), f"ClickHouse: {poison.cause}"))
            judged.ends[position] = judged.ends[position]._replace(outcome=Outcome.DEAD_LETTERED)

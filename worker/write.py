"""What happens to a full batch, in order: look up, insert, count, set aside, acknowledge."""

from __future__ import annotations

from collections.abc import Sequence

from shared import metrics
from shared.outcomes import Outcome
from worker.batch import Batch
from worker.find import Finder
from worker.insert import Inserter, PoisonRow
from worker.judge import End, Judged, Poison
from worker.outcome_rows import NOTHING_EARLIER, Earlier
from worker.settle import Settler


class BatchWriter:
    """Takes one batch at a time to its end; given up half-way, it leaves everything to a redelivery."""

    def __init__(self, finder: Finder, inserter: Inserter, settler: Settler) -> None:
        self._finder = finder
        self._inserter = inserter
        self._settler = settler

    async def write(self, batch: Batch) -> None:
        """Return when every pageview of the batch is stored, dropped or set aside, and its messages acknowledged."""
        earlier = NOTHING_EARLIER
        if seen_before := [judged for judged in batch.judged if judged.seen_before]:
            await self._leave_out_stored(seen_before)
            earlier = await self._finder.counted(seen_before)
            _leave_out_replayed(seen_before, earlier)
        if rows := batch.placed():
            refused = await self._inserter.insert(rows, batch.span(), again=bool(seen_before))
            self._mark_poison(batch.judged, refused)
        await self._settler.settle(batch.judged, earlier)

    async def _leave_out_stored(self, seen_before: Sequence[Judged]) -> None:
        """Find what earlier deliveries stored: it is not inserted again, and stored it stays, whatever is said now."""
        found = await self._finder.stored_of(seen_before)
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
        of_place = {
            (judged.headers.batch_id.bytes, position): judged
            for judged in batch
            if judged.headers is not None
            for position in judged.rows
        } if refused else {}  # fmt: skip
        for poison in refused:
            position = poison.row.position
            judged = of_place[poison.row.batch_id, position]
            pageview = judged.rows.pop(position).pageview
            judged.poison.append(Poison(position, tuple(pageview), f"ClickHouse: {poison.cause}", admitted=True))
            judged.ends[position] = judged.ends[position]._replace(outcome=Outcome.DEAD_LETTERED)


def _leave_out_replayed(seen_before: Sequence[Judged], earlier: Earlier) -> None:
    """Leave alone what was dead-lettered by an earlier delivery and has been replayed since: that has counted it."""
    for judged in seen_before:
        if judged.headers is None or judged.headers.repeated:
            continue
        batch_id = judged.headers.batch_id
        for position in judged.ends:
            if (end := earlier.replayed.get((batch_id, position))) is not None:
                judged.rows.pop(position, None)
                judged.ends[position] = end
        judged.poison = [poison for poison in judged.poison if (batch_id, poison.position) not in earlier.replayed]

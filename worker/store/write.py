"""What happens to a full batch, in order: look up, insert, count, set aside, acknowledge."""

from __future__ import annotations

from collections.abc import Sequence

from shared import metrics
from shared.outcomes import Outcome
from worker.delivery import PageviewOutcome, Poison, ProcessedMessage
from worker.store.batch import Batch
from worker.store.insert import Inserter, PoisonRow
from worker.store.lookup import DuplicateLookup
from worker.store.outcomes import NOTHING_EARLIER, Earlier
from worker.store.settle import MessageSettler


class BatchWriter:
    """Takes one batch at a time to its end; given up half-way, it leaves everything to a redelivery."""

    def __init__(self, duplicates: DuplicateLookup, inserter: Inserter, settler: MessageSettler) -> None:
        self._duplicates = duplicates
        self._inserter = inserter
        self._settler = settler

    async def write(self, batch: Batch) -> None:
        """Return when every pageview of the batch is stored, dropped or set aside, and its messages acknowledged."""
        earlier = NOTHING_EARLIER
        if seen_before := [processed for processed in batch.processed if processed.seen_before]:
            await self._leave_out_stored(seen_before)
            earlier = await self._duplicates.counted(seen_before)
            _leave_out_replayed(seen_before, earlier)
        if rows := batch.positioned_rows():
            refused = await self._inserter.insert(rows, batch.span(), again=bool(seen_before))
            self._mark_poison(batch.processed, refused)
        await self._settler.settle(batch.processed, earlier)

    async def _leave_out_stored(self, seen_before: Sequence[ProcessedMessage]) -> None:
        """Find what earlier deliveries stored: it is not inserted again, and stored it stays, whatever is said now."""
        found = await self._duplicates.stored_of(seen_before)
        metrics.ROWS_FOUND.inc(len(found))
        for processed in seen_before:
            if processed.headers is None:
                continue
            batch_id = processed.headers.batch_id.bytes
            for position, end in processed.outcomes.items():
                site_id = found.get((batch_id, position))
                if site_id is not None:
                    processed.rows.pop(position, None)
                    processed.outcomes[position] = PageviewOutcome(end.minute, site_id, end.client_id, Outcome.STORED)
            processed.poison = [poison for poison in processed.poison if (batch_id, poison.position) not in found]

    @staticmethod
    def _mark_poison(batch: Sequence[ProcessedMessage], refused: Sequence[PoisonRow]) -> None:
        of_place = {
            (processed.headers.batch_id.bytes, position): processed
            for processed in batch
            if processed.headers is not None
            for position in processed.rows
        } if refused else {}  # fmt: skip
        for poison in refused:
            position = poison.row.position
            processed = of_place[poison.row.batch_id, position]
            pageview = processed.rows.pop(position).pageview
            processed.poison.append(Poison(position, tuple(pageview), f"ClickHouse: {poison.cause}", admitted=True))
            processed.outcomes[position] = processed.outcomes[position]._replace(outcome=Outcome.DEAD_LETTERED)


def _leave_out_replayed(seen_before: Sequence[ProcessedMessage], earlier: Earlier) -> None:
    """Leave alone what was dead-lettered by an earlier delivery and has been replayed since: that has counted it."""
    for processed in seen_before:
        if processed.headers is None or processed.headers.repeated:
            continue
        batch_id = processed.headers.batch_id
        for position in processed.outcomes:
            if (end := earlier.replayed.get((batch_id, position))) is not None:
                processed.rows.pop(position, None)
                processed.outcomes[position] = end
        processed.poison = [
            poison for poison in processed.poison if (batch_id, poison.position) not in earlier.replayed
        ]

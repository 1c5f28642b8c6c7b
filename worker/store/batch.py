"""A batch: processed messages whose rows go to ClickHouse in one insert, and which are acknowledged together."""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.delivery import ProcessedMessage
from worker.row import Row

#: A batch is full at this many bytes of opened messages, whatever the number of its rows: sealed ones tell little,
#: since pageviews of 64 KiB may compress to a hundredth.
FLUSH_BYTES: Final = 32 * 1024 * 1024


class PositionedRow(NamedTuple):
    """A row with its place in the queue's messages: the identity under which it is looked up."""

    row: Row
    batch_id: bytes
    position: int


def deduplication_token(rows: Sequence[PositionedRow]) -> str:
    """Return the deduplication token of exactly these rows in this order.

    A token that was used for other rows would make ClickHouse swallow these, so it depends on every single one.
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.batch_id)
        digest.update(row.position.to_bytes(4, "big"))
    return digest.hexdigest()


class Batch:
    """Gathers processed messages; once it is handed to the writer nothing is added any more."""

    def __init__(self, started: float) -> None:
        #: Monotonic time of the first message.
        self.started = started
        self.processed: list[ProcessedMessage] = []
        #: Full for another reason than its size.
        self.closed = False
        self._parts: defaultdict[uuid.UUID, set[int]] = defaultdict(set)
        self.rows = 0
        self.bytes = 0

    def add(self, processed: ProcessedMessage) -> None:
        """Add a message that does not overlap."""
        if processed.seen_before:
            key = processed.key
            self._parts[key.batch_id].add(key.part)
        self.processed.append(processed)
        self.rows += len(processed.rows)
        self.bytes += processed.size

    def overlaps(self, processed: ProcessedMessage) -> bool:
        """Tell whether another delivery of the same pageviews is in the batch.

        One dead letter written twice, say, and both replayed; or one that is replayed while the message that it came
        from is delivered again.  What becomes of the first must be stored and counted before the other is looked up.
        """
        if not processed.seen_before:
            return False
        key = processed.key
        parts = self._parts.get(key.batch_id, set())
        return key.part in parts or 0 in parts or (key.part == 0 and bool(parts))

    def span(self) -> tuple[int, int]:
        """Return the earliest and latest pageview time of the batch, in milliseconds."""
        spans = [processed.span for processed in self.processed if processed.span is not None]
        return min(first for first, _ in spans), max(last for _, last in spans)

    def positioned_rows(self) -> list[PositionedRow]:
        """Return all rows in their order."""
        return [
            PositionedRow(row, processed.headers.batch_id.bytes, position)
            for processed in self.processed
            if processed.headers is not None
            for position, row in processed.rows.items()
        ]

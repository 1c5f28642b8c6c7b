"""A batch: processed messages whose rows go to ClickHouse in one insert, and which are acknowledged together."""

from __future__ import annotations

import hashlib
import uuid
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from worker.delivery import ProcessedMessage
from worker.row import Row

#: A batch is full at this many bytes of opened messages, however many rows it has.  Sealed sizes say little:
#: pageviews of 64 KiB may compress to a hundredth.
FLUSH_BYTES: Final = 32 * 1024 * 1024


class PositionedRow(NamedTuple):
    """A row with its position in the queue's messages, by which it is looked up (`PageviewKey`)."""

    row: Row
    batch_id: bytes
    position: int


def positioned_rows(messages: Iterable[ProcessedMessage]) -> list[PositionedRow]:
    """Return the rows of all messages, in their order."""
    return [
        PositionedRow(row, message.headers.batch_id.bytes, position)
        for message in messages
        if message.headers is not None
        for position, row in message.rows.items()
    ]


def deduplication_token(rows: Sequence[PositionedRow]) -> str:
    """Return the deduplication token of exactly these rows in this order.

    A token that was used for other rows would make ClickHouse swallow these, so it depends on every single one.
    """
    digest = hashlib.sha256(b"".join([row.batch_id for row in rows]))
    digest.update(array("I", [row.position for row in rows]).tobytes())  # of the same number: no two lists are alike
    return digest.hexdigest()


class Batch:
    """Gathers processed messages; nothing is added once it is handed to the writer."""

    def __init__(self, started: float) -> None:
        #: Monotonic time of the first message.
        self.started = started
        self.messages: list[ProcessedMessage] = []
        #: Full for a reason other than its size.
        self.closed = False
        self._parts: defaultdict[uuid.UUID, set[int]] = defaultdict(set)
        self.rows = 0
        self.bytes = 0

    def add(self, message: ProcessedMessage) -> None:
        """Add a message that does not overlap."""
        if message.seen_before:
            key = message.key
            self._parts[key.batch_id].add(key.part)
        self.messages.append(message)
        self.rows += len(message.rows)
        self.bytes += message.size

    def overlaps(self, message: ProcessedMessage) -> bool:
        """Return whether another delivery of the same pageviews is in the batch.

        For example one dead letter that was written twice, both replayed; or one that is replayed while the message
        that it came from is redelivered.  The first must be stored and counted before the other is looked up.
        """
        if not message.seen_before:
            return False
        key = message.key
        parts = self._parts.get(key.batch_id, set())
        return key.part in parts or 0 in parts or (key.part == 0 and bool(parts))

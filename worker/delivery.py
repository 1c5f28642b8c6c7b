"""A delivered message, the results of processing it, and the keys under which it is counted and looked up."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple, Protocol

from shared import dead_letters, refusals
from shared.message import Headers, SealedMessage
from shared.refusals import Refusal
from worker.row import Row

#: Stands for "no site" in `outcomes`.
NIL: Final = bytes(16)
#: What ClickHouse's DateTime can hold, 1970 to 2106, in milliseconds: outcomes are counted by it.
LATEST_MS: Final = 4_294_967_295_000


#: Batch id (16 bytes) and position: names one pageview of all that were ever accepted.
PageviewKey = tuple[bytes, int]


class Delivery(SealedMessage, Protocol):
    """The part of a delivered message that a worker uses; aio-pika's `AbstractIncomingMessage` has all of it."""

    content_type: str | None
    type: str | None
    timestamp: datetime | None
    redelivered: bool | None
    #: Number of the delivery on its channel, from 1.
    delivery_tag: int | None

    async def ack(self, multiple: bool = False) -> None:
        """Acknowledge this delivery, or with `multiple` every delivery of the channel up to this one."""


class Poison(NamedTuple):
    """A pageview, or where `position` is None a whole message, that can't be processed, and why."""

    position: int | None
    item: Any
    reason: str
    #: Already allowed by the `DeadLetterLimiter`.
    admitted: bool = False


class PageviewOutcome(NamedTuple):
    """What became of one pageview, as `outcomes` counts it."""

    minute: int  # seconds since the epoch
    site_id: bytes
    client_id: bytes
    #: An `Outcome`, or the outcome of a `shared.refusals.Refusal`, or one that a newer version knows.
    outcome: str


class MessageKey(NamedTuple):
    """What names a message's row in `outcomes_raw`: a redelivery has the same, and replaces it.

    Part 0 is a message as it was accepted.  The dead letter of a single pageview has its own part, its position
    plus 1, when it is replayed; its row takes back what part 0 counted it as, so that every pageview has one outcome.
    """

    batch_id: uuid.UUID
    part: int
    day: date


@dataclass(frozen=True, slots=True)
class ProcessedMessage:
    """A delivery with a result for each of its pageviews; `rows` and `outcomes` are keyed by position.

    `revise` (store/revise.py) makes a new one from it once ClickHouse has answered.
    """

    delivery: Delivery
    #: None for a message that can't be opened.
    headers: Headers | None
    #: Those to be inserted; the outcome of each is "stored" already.
    rows: Mapping[int, Row]
    outcomes: Mapping[int, PageviewOutcome]
    poison: tuple[Poison, ...]
    #: Approximate bytes in memory: the size of its body, opened if it can be.
    size: int
    #: Times of its pageviews in milliseconds, those that are dropped included: where in ClickHouse to look for them.
    times: tuple[int, ...] = ()
    #: What a gateway refused, in place of pageviews.
    refused: Mapping[Refusal, int] = field(default_factory=dict)
    #: Opens the delivery once more and returns its items: rows do not hold all that a dead letter needs.
    reopen: Callable[[], Sequence[Any]] = field(default=tuple, compare=False)

    @property
    def key(self) -> MessageKey:
        """The key under which its outcomes are counted."""
        key = key_of(self.delivery, self.headers)
        if self.refused:  # not the message's own: a version that does not know such outcomes never looks this one up
            key = key._replace(batch_id=uuid.uuid5(key.batch_id, refusals.HEADER))
        return key

    @property
    def seen_before(self) -> bool:
        """True when some of it may be stored or counted already, and must be looked up."""
        if self.delivery.redelivered or (self.headers is not None and self.headers.repeated):
            return True
        return bool(self.delivery.headers and self.delivery.headers.get(dead_letters.REPLAYED))

    @property
    def poison_pageviews(self) -> int:
        """How many pageviews are poison: all that its headers claim if the message can't be opened."""
        return len(self.outcomes) if self.headers is None else len(self.poison)

    def counts(self) -> Counter[PageviewOutcome]:
        """Return how many pageviews came to which outcome."""
        counts = Counter(self.outcomes.values())
        for refusal, count in self.refused.items():
            counts[PageviewOutcome(refusal.minute, NIL, refusal.client_id, refusal.outcome)] += count
        return counts


def accepted_at(delivery: Delivery) -> datetime:
    """Return the publisher's time as the broker passes it on; 1970 if `outcomes_raw` can't hold it."""
    time = delivery.timestamp
    if time is None or not 0 <= time.timestamp() * 1000 <= LATEST_MS:
        return datetime.fromtimestamp(0, UTC)
    return time


def key_of(delivery: Delivery, headers: Headers | None) -> MessageKey:
    """Return the key of a message; `headers` is None where it can't be opened."""
    # The broker's copy of the publisher's clock: the same at each delivery, even if the body is processed differently.
    day = accepted_at(delivery).date()
    if headers is not None:
        return MessageKey(headers.batch_id, headers.first_position + 1 if headers.repeated else 0, day)
    unchecked = delivery.headers or {}
    position = unchecked.get("first_position")
    if unchecked.get("repeated") is True and type(position) is int and 0 <= position < 65_535:
        return MessageKey(_batch_id(delivery), position + 1, day)
    return MessageKey(_batch_id(delivery), 0, day)


def _batch_id(delivery: Delivery) -> uuid.UUID:
    try:
        return uuid.UUID(delivery.message_id)
    except (ValueError, TypeError, AttributeError):
        # It has no id, so one is derived from its body: the same at each delivery.
        return uuid.uuid5(uuid.NAMESPACE_OID, delivery.body.hex())


def part_headers(headers: Headers, position: int) -> Headers:
    """Return the headers under which one pageview of a message is dead-lettered, and later replayed."""
    return Headers(
        headers.batch_id, 1, headers.registry_version, first_position=position, repeated=True, schema=headers.schema
    )

"""A delivered message, what processing it came to, and the key under which that is counted."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from shared import dead_letters
from shared.message import Headers
from shared.outcomes import Outcome
from worker.row import Row

#: Stands for "no site" in `outcomes`.
NIL: Final = bytes(16)
#: What ClickHouse's DateTime can hold, 1970 to 2106, in milliseconds: outcomes are counted by it.
LATEST_MS: Final = 4_294_967_295_000


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
    outcome: Outcome


class MessageKey(NamedTuple):
    """What names a message's row in `outcomes_raw`: a redelivery has the same, and replaces it.

    Part 0 is a message as it was accepted.  The dead letter of a single pageview is a part of its own, its position
    plus 1, when it is replayed; its row takes back what part 0 counted it as, so that every pageview has one outcome.
    """

    batch_id: uuid.UUID
    part: int
    day: date


@dataclass(slots=True)
class ProcessedMessage:
    """A message with a result for each of its pageviews; `rows` and `outcomes` go by position in the message."""

    message: Any
    #: None for a message that can't be opened.
    headers: Headers | None
    rows: dict[int, Row] = field(default_factory=dict)
    outcomes: dict[int, PageviewOutcome] = field(default_factory=dict)
    poison: list[Poison] = field(default_factory=list)
    #: Bytes that it takes in memory, about: those of its body, opened where it can be.
    size: int = 0
    #: Span of the pageviews' times, in milliseconds: where in ClickHouse to look for them.
    span: tuple[int, int] | None = None

    @property
    def key(self) -> MessageKey:
        """The key under which its outcomes are counted."""
        return key_of(self.message, self.headers)

    @property
    def seen_before(self) -> bool:
        """True when some of it may be stored or counted already, and must be looked up."""
        if self.message.redelivered or (self.headers is not None and self.headers.repeated):
            return True
        return bool(self.message.headers and self.message.headers.get(dead_letters.REPLAYED))

    @property
    def poisoned(self) -> int:
        """How many pageviews are poison: of a message that can't be opened, all that its headers tell of."""
        return len(self.outcomes) if self.headers is None else len(self.poison)

    def counts(self) -> Counter[PageviewOutcome]:
        """Return how many pageviews came to which outcome."""
        return Counter(self.outcomes.values())


def accepted_at(message: Any) -> datetime:
    """Return the publisher's clock as the broker passes it on; 1970 where it says nothing that can be counted by."""
    told: datetime | None = message.timestamp
    return told if told is not None and 0 <= told.timestamp() * 1000 <= LATEST_MS else datetime.fromtimestamp(0, UTC)


def key_of(message: Any, headers: Headers | None) -> MessageKey:
    """Return the key of a message; `headers` is None where it can't be opened."""
    # The broker's copy of the publisher's clock: the same at each delivery, whatever is made of the body.
    day = accepted_at(message).date()
    if headers is not None:
        return MessageKey(headers.batch_id, headers.first_position + 1 if headers.repeated else 0, day)
    given = message.headers or {}
    position = given.get("first_position")
    if given.get("repeated") is True and type(position) is int and 0 <= position < 65_535:
        return MessageKey(_batch_id(message), position + 1, day)
    return MessageKey(_batch_id(message), 0, day)


def _batch_id(message: Any) -> uuid.UUID:
    try:
        return uuid.UUID(message.message_id)
    except (ValueError, TypeError, AttributeError):
        # Nothing names it: its body does, so that a redelivery counts it under the same name.
        return uuid.uuid5(uuid.NAMESPACE_OID, message.body.hex())


def part_headers(headers: Headers, position: int) -> Headers:
    """Return the headers under which one pageview of a message is set aside, and later replayed."""
    return Headers(headers.batch_id, 1, headers.registry_version, first_position=position, repeated=True)

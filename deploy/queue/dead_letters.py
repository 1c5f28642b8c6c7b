"""What a dead letter says, how it is selected, and the message that replays it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from shared import dead_letters
from shared.message import MAX_PAGEVIEWS, open_body, read_headers
from shared.pageview import QueuedPageview, Unparseable, parse, unpack
from shared.seal import Opener
from worker.delivery import MessageKey, key_of


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter: a pageview, or a whole message that could not be opened."""

    message: AbstractIncomingMessage

    def _header(self, name: str) -> str:
        value = self.message.headers.get(name)
        return value if isinstance(value, str) else ""

    @property
    def letter_id(self) -> str:
        """Its id, which is derived from the body if something other than a worker published it."""
        return self._header(dead_letters.LETTER_ID) or str(uuid.uuid5(uuid.NAMESPACE_OID, self.message.body.hex()))

    @property
    def reason(self) -> str:
        """Why it was dead-lettered."""
        return self._header(dead_letters.REASON)

    @property
    def died_at(self) -> str:
        """When it was dead-lettered, RFC 3339 in UTC."""
        return self._header(dead_letters.DIED_AT)

    @property
    def worker(self) -> str:
        """The host of the worker that dead-lettered it."""
        return self._header(dead_letters.WORKER)

    @property
    def pageviews(self) -> int:
        """The number of pageviews that its headers claim."""
        count = self.message.headers.get("pageviews")
        return count if type(count) is int and 0 < count <= MAX_PAGEVIEWS else 1

    @property
    def key(self) -> MessageKey:
        """The key that its replay is counted under in `outcomes_raw`."""
        return key_of(self.message, None)

    @property
    def duplicate_key(self) -> tuple[MessageKey, bytes]:
        """Equal for two letters of the same pageview or message, which a worker killed in between publishes twice."""
        single = self.message.headers.get("repeated") is True
        return self.key, b"" if single else hashlib.blake2b(self.message.body, digest_size=16).digest()

    @property
    def fingerprint(self) -> int:
        """A number of 63 bits in place of its id, of which a million take little memory."""
        return int.from_bytes(hashlib.blake2b(self.letter_id.encode(), digest_size=8).digest(), "big") >> 1

    def summary(self) -> dict[str, Any]:
        """Return what can be read without opening it."""
        return {
            "id": self.letter_id,
            "reason": self.reason,
            "died_at": self.died_at,
            "worker": self.worker,
            "pageviews": self.pageviews,
            "batch_id": str(self.key.batch_id),
        }

    def contents(self, opener: Opener) -> list[QueuedPageview | str]:
        """Return its pageviews, with the error in place of an unreadable one; raises `Unopenable`, `Unparseable`."""
        headers = read_headers(self.message)
        return [_read(item, headers.schema) for item in unpack(open_body(self.message, headers, opener))]

    def to_replay(self) -> aio_pika.Message:
        """Return the message to publish for it to be processed again, unchanged and marked as a replay.

        The headers that its seal is bound to stay as they are, so no key is needed.
        """
        headers = {
            name: value for name, value in self.message.headers.items() if name not in dead_letters.REMOVED_ON_REPLAY
        }
        return aio_pika.Message(
            self.message.body,
            message_id=self.message.message_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            content_type=self.message.content_type,
            type=self.message.type,
            timestamp=self.message.timestamp,
            headers={**headers, dead_letters.REPLAYED: True},
        )


def _read(item: Any, schema: int) -> QueuedPageview | str:
    try:
        return parse(item, schema)
    except Unparseable as error:
        return str(error)


class Unmatched:
    """The ids, or beginnings of ids, that no letter has had so far."""

    def __init__(self, ids: tuple[str, ...]) -> None:
        self.ids = {each.lower(): each for each in ids}

    def note(self, letter: DeadLetter) -> None:
        """Note a letter that is there."""
        for lowered in [each for each in self.ids if letter.letter_id.startswith(each)]:
            del self.ids[lowered]


def selector(ids: tuple[str, ...], reason: str | None) -> Callable[[DeadLetter], bool]:
    """Return a function that selects letters by id (or its beginning) and text in the reason; without either, all."""
    prefixes = tuple(each.lower() for each in ids)
    text = (reason or "").lower()

    def selects(letter: DeadLetter) -> bool:
        return (not prefixes or letter.letter_id.startswith(prefixes)) and text in letter.reason.lower()

    return selects

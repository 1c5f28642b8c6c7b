"""The dead-letter queue as the `hitline dead` command works on it; nothing in it is lost, whenever the command ends.

Letters are got without acknowledgement and go back at the end; one is acknowledged only when it was purged on request,
or when the broker has confirmed its copy in `hitline.pageviews`.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from deploy.queue.connection import connect
from shared import dead_letters, queue
from shared.message import MAX_PAGEVIEWS, open_body, read_headers
from shared.pageview import QueuedPageview, Unparseable, parse, unpack
from shared.seal import Opener
from worker.delivery import MessageKey, key_of

_GET_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Letter:
    """One dead letter: a pageview, or a whole message that could not be opened."""

    message: AbstractIncomingMessage

    def _header(self, name: str) -> str:
        value = self.message.headers.get(name)
        return value if isinstance(value, str) else ""

    @property
    def letter_id(self) -> str:
        """Its id; a letter that something else put here is named by its body."""
        return self._header(dead_letters.LETTER_ID) or str(uuid.uuid5(uuid.NAMESPACE_OID, self.message.body.hex()))

    @property
    def reason(self) -> str:
        """Why it died."""
        return self._header(dead_letters.REASON)

    @property
    def died_at(self) -> str:
        """When, RFC 3339 in UTC."""
        return self._header(dead_letters.DIED_AT)

    @property
    def worker(self) -> str:
        """The host of the worker that set it aside."""
        return self._header(dead_letters.WORKER)

    @property
    def pageviews(self) -> int:
        """How many pageviews it says that it carries."""
        count = self.message.headers.get("pageviews")
        return count if type(count) is int and 0 < count <= MAX_PAGEVIEWS else 1

    @property
    def key(self) -> MessageKey:
        """Under which its replay is counted in `outcomes_raw`."""
        return key_of(self.message, None)

    @property
    def twin(self) -> tuple[MessageKey, bytes]:
        """What is the same in two letters of one pageview or message (a worker that was killed wrote one twice)."""
        single = self.message.headers.get("repeated") is True
        return self.key, b"" if single else self.message.body

    def summary(self) -> dict[str, Any]:
        """Return what can be told without a key."""
        return {
            "id": self.letter_id,
            "reason": self.reason,
            "died_at": self.died_at,
            "worker": self.worker,
            "pageviews": self.pageviews,
            "batch_id": str(self.key.batch_id),
        }

    def contents(self, opener: Opener) -> list[QueuedPageview | str]:
        """Return its pageviews, and for each that can't be read what is wrong; raises `Unopenable`, `Unparseable`."""
        items = unpack(open_body(self.message, read_headers(self.message), opener))
        return [_read(item) for item in items]

    def again(self) -> aio_pika.Message:
        """Return the message that takes it through the pipeline again: as it was, and said to be a replay.

        The headers that its seal is bound to stay as they are, so that no key is needed here.
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


def _read(item: Any) -> QueuedPageview | str:
    try:
        return parse(item)
    except Unparseable as error:
        return str(error)


class DeadQueue:
    """The dead-letter queue on one channel: what is taken goes back when the channel closes, unless it was ended."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel

    async def letters(self) -> AsyncIterator[Letter]:
        """Yield what is in the queue now, each letter once; what arrives meanwhile is for the next time."""
        declared = await self._channel.declare_queue(queue.DEAD_QUEUE, passive=True)
        for _ in range(declared.declaration_result.message_count or 0):
            found = await declared.get(fail=False, no_ack=False, timeout=_GET_SECONDS)
            if found is None:
                return
            yield Letter(found)

    async def replay(self, letter: Letter) -> None:
        """Publish a letter to the pageviews again and end it once that is confirmed; raises aio-pika's errors."""
        exchange = await self._channel.get_exchange(queue.EXCHANGE, ensure=False)
        await exchange.publish(letter.again(), queue.PAGEVIEWS, mandatory=True)
        await self.end(letter)

    @staticmethod
    async def end(letter: Letter) -> None:
        """Take a letter out of the queue for good."""
        await letter.message.ack()


@asynccontextmanager
async def opened(urls: tuple[str, ...], name: str) -> AsyncIterator[DeadQueue]:
    """Give the dead-letter queue; at the end the broker has put back whatever was not ended."""
    connection = await connect(urls, name)
    async with connection:
        yield DeadQueue(await connection.channel(publisher_confirms=True, on_return_raises=True))


def wanted(ids: tuple[str, ...], reason: str | None) -> Callable[[Letter], bool]:
    """Return whether a letter is meant: by its id (or the beginning of it), by a text in its reason; else all are."""
    words = tuple(each.lower() for each in ids)
    text = (reason or "").lower()

    def means(letter: Letter) -> bool:
        return (not words or letter.letter_id.startswith(words)) and text in letter.reason.lower()

    return means

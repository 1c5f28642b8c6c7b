"""An AMQP message of the queue: the pageviews of one group commit, sealed, with headers that are authenticated."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import aio_pika
from aio_pika.abc import HeadersType

from shared.pageview import OLDEST_SCHEMA_VERSION, SCHEMA_VERSION
from shared.seal import Opener, Sealer, Unopenable

#: Limits of one message, in pageviews and in bytes before compression (so the sealed form stays below, too).
MAX_PAGEVIEWS = 500
MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Headers:
    """A message's unencrypted headers; the seal binds all of them to the body."""

    batch_id: uuid.UUID
    pageviews: int
    #: Newest version in the publishing gateway's registry; a worker with an older one refreshes first.
    registry_version: int
    #: Position of the first pageview in the message that it was accepted with; only in dead letters not 0.
    first_position: int = 0
    #: Published again (after an unknown outcome, or from the dead letters): looked up like a redelivery.
    repeated: bool = False
    schema: int = SCHEMA_VERSION

    def associated_data(self) -> bytes:
        """Return the bytes that the seal authenticates."""
        numbers = (self.schema, self.pageviews, self.registry_version, self.first_position, self.repeated)
        return b"hitline|%d|%d|%d|%d|%d|%b" % (*numbers, self.batch_id.bytes)


class NewerSchema(Unopenable):
    """A message of a newer version of Hitline: a process of that version can read it."""


class SealedMessage(Protocol):
    """The part of an AMQP message that its headers and body are read from."""

    body: bytes
    headers: HeadersType
    message_id: str | None


def build(
    headers: Headers, body: bytes, sealer: Sealer, more: Mapping[str, str | int] | None = None
) -> aio_pika.Message:
    """Return the persistent AMQP message that carries `body` (joined `pageview.pack`s).

    `more` are additional headers, neither encrypted nor authenticated, such as those of dead letters.
    """
    return aio_pika.Message(
        sealer.seal(body, headers.associated_data()),
        message_id=str(headers.batch_id),
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        content_type="application/octet-stream",
        type="hitline.pageviews",
        timestamp=datetime.now(UTC),
        headers={
            "schema": headers.schema,
            "key_id": sealer.key_id.hex(),
            "pageviews": headers.pageviews,
            "registry_version": headers.registry_version,
            "first_position": headers.first_position,
            "repeated": headers.repeated,
            **(more or {}),
        },
    )


def read_headers(message: SealedMessage) -> Headers:
    """Read the headers of a delivered message.

    Raises `NewerSchema` for a schema version above this one's, whatever the other headers are, and `Unopenable` if
    headers are missing or malformed.
    """
    try:
        schema = _integer(message.headers["schema"])
        if schema > SCHEMA_VERSION:
            raise NewerSchema(_other_schema(schema))
        headers = Headers(
            batch_id=uuid.UUID(message.message_id),
            pageviews=_integer(message.headers["pageviews"]),
            registry_version=_integer(message.headers["registry_version"]),
            first_position=_integer(message.headers["first_position"]),
            repeated=bool(message.headers["repeated"]),
            schema=schema,
        )
    except NewerSchema:
        raise
    except (KeyError, ValueError, TypeError, AttributeError):
        raise Unopenable("message id or headers are missing or malformed") from None
    if headers.schema < OLDEST_SCHEMA_VERSION:
        raise Unopenable(_other_schema(headers.schema))
    return headers


def open_body(message: SealedMessage, headers: Headers, opener: Opener) -> bytes:
    """Open a delivered message's body; raises `Unopenable`."""
    return opener.open(message.body, headers.associated_data())


def _other_schema(schema: int) -> str:
    known = " and ".join(map(str, range(OLDEST_SCHEMA_VERSION, SCHEMA_VERSION + 1)))
    return f"unknown schema version: {schema}, while this version of Hitline reads {known}"


def _integer(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value

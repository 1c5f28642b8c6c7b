"""Messages that can't be processed, one maker a kind, as no gateway would make them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import aio_pika

from shared import message, queue
from shared.message import Headers
from shared.pageview import SCHEMA_VERSION, QueuedPageview, join, pack_item
from shared.seal import Sealer, key_id
from tests import parts

OTHER_KEY = bytes(range(32, 64))
CLIENT = b"c" * 16


class Kind(NamedTuple):
    """How to make it, why it dies, and whether a new worker with the other key and without the constraint takes it."""

    make: Callable[[], aio_pika.Message]
    reason: str
    mended: bool = False
    #: Good pageviews in the same message.
    neighbours: int = 0


def queued(**fields: Any) -> QueuedPageview:
    now_ms = time.time_ns() // 1_000_000
    plain = QueuedPageview(
        CLIENT, now_ms, "example.com", "https://example.com/", now_ms, "198.51.100.7", "Agent/1.0", False,
        uuid.uuid4().bytes, uuid.uuid4().bytes, "", "", 0, 0, 0, 0,
    )  # fmt: skip
    return plain._replace(**fields)


def sealed(
    items: list[Any],
    key: bytes = parts.QUEUE_KEY,
    count: int | None = None,
    schema: int = SCHEMA_VERSION,
    body: bytes | None = None,
) -> aio_pika.Message:
    headers = Headers(uuid.uuid4(), len(items) if count is None else count, 0, schema=schema)
    return message.build(headers, join(list(map(pack_item, items))) if body is None else body, Sealer([key]))


def cut(whole: aio_pika.Message) -> aio_pika.Message:
    whole.body = whole.body[:-9]
    return whole


def foreign() -> aio_pika.Message:
    return aio_pika.Message(b'{"not": "ours"}' + uuid.uuid4().bytes, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


KINDS = {
    "wrong key": Kind(
        lambda: sealed([queued()], key=OTHER_KEY),
        f"unknown key: {key_id(OTHER_KEY).hex()} is not the id of any key in HITLINE_QUEUE_KEYS",
        True,
    ),
    "cut short": Kind(lambda: cut(sealed([queued()])), "body or headers were altered or cut short"),
    "older schema": Kind(
        lambda: sealed([queued()], schema=0), "unknown schema version: 0, while this version of Hitline reads 1 and 2"
    ),
    "not ours": Kind(foreign, "message id or headers are missing or malformed"),
    "no msgpack": Kind(lambda: sealed([1], body=b"\xc1"), "body is not msgpack: FormatError"),
    "wrong count": Kind(lambda: sealed([queued(), queued()], count=1), "2 pageviews instead of 1"),
    "too few fields": Kind(
        lambda: sealed([tuple(queued())[:5], queued()]),
        "pageview does not have the fields of this schema version",
        False,
        1,
    ),
    "wrong type": Kind(lambda: sealed([queued(), queued(user_agent=7)]), "user_agent is not of type str", False, 1),
    "time out of range": Kind(
        lambda: sealed([queued(timestamp_ms=10**17), queued()]), "timestamp_ms is out of range", False, 1
    ),
    "refused by ClickHouse": Kind(
        lambda: sealed([queued(), queued(url="https://example.com/evil")]), "ClickHouse: VIOLATED_CONSTRAINT", True, 1
    ),
}


async def publish(amqp_url: str, messages: list[aio_pika.Message]) -> None:
    """Publish messages as a gateway does."""
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(queue.EXCHANGE, ensure=False)
        for each in messages:
            await exchange.publish(each, queue.PAGEVIEWS, mandatory=True)

"""Messages of other publishers, with properties as no client of ours makes them: set aside, and they block nothing."""

from __future__ import annotations

import asyncio
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pamqp import commands, encode

from shared import queue
from tests import services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.delivery.test_poison import dead, listed
from tests.services import System

#: As the broker passes them on; an integer is a raw timestamp, bytes are a raw string.
PROPERTIES: list[dict[str, Any]] = [
    {"timestamp": 1_764_000_000_000},  # milliseconds, which pamqp tells by their size
    {"timestamp": 5_000_000_000_000},  # the year 2128: beyond what outcomes can count by
    {"timestamp": 1_764_000_000_000_000},  # microseconds
    {"timestamp": 1_764_000_000_000_000_000},  # nanoseconds
    {"timestamp": 2**64 - 1},
    {"timestamp": 0},
    {"message_id": b"\xe9\xff"},
    {"message_type": b"\xff" * 200},
    {"message_id": "é" * 120, "content_type": "text/plain", "content_encoding": "gzip", "reply_to": "somewhere"},
    {"priority": 200},
    {"expiration": "86400000", "app_id": "another", "correlation_id": "17"},
    {"headers": {"number": 1.5, "nothing": None, "exact": Decimal("1.5"), "when": datetime.now(UTC)}},
    {"headers": {"huge": 1e300}},
    {"headers": {"when": 2**63}},
    {"headers": {"text": b"\xff\xfe", "bytes": bytearray(b"\xff"), "list": [1, "a", {"b": [None]}]}},
    {"headers": {"pageviews": -5, "registry_version": 2**62, "schema": 1, "first_position": 2**40, "repeated": True}},
    {"headers": {"pageviews": "many", "reason": 5, "letter_id": 7, "died_at": None, "replayed": "yes"}},
    {
        "message_id": str(uuid.uuid4()),
        "headers": {"pageviews": 1, "registry_version": 0, "schema": 1, "first_position": 65_535, "repeated": True},
    },
]


async def test_foreign_messages_are_dead_lettered_and_hold_nothing_up(
    bare: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(bare.broker.amqp_url, monkeypatch)
    worker = bare.add_worker()
    ledger = Ledger()
    await faults.post_batches(bare, faults.make_pageviews(50), ledger)

    expected = {"stored": 50, "dead_lettered": len(PROPERTIES) + 1}
    await asyncio.to_thread(services.wait_for, lambda: bare.outcomes() == expected)
    assert {each["reason"] for each in listed(bare, len(PROPERTIES) + 1)} <= {
        "message id or headers are missing or malformed",
        "body is cut short or has an unknown seal version",
    }
    assert worker.text().count("broker: connected") == 1, "the connection was lost"
    ends = dead(bare, "replay", "--all").split("\n")
    assert sum("dead_lettered" in end for end in ends) == len(PROPERTIES) + 1
    assert bare.outcomes() == expected


async def publish(amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish one message for each of `PROPERTIES`, and one without any."""
    with monkeypatch.context() as patched:
        for name, raw in {"timestamp": raw_timestamp, "shortstr": raw_string}.items():
            patched.setitem(encode.METHODS, name, raw(encode.METHODS[name]))
        patched.setattr(encode, "encode_table_value", raw_value(encode.encode_table_value))
        connection = await queue.connect([amqp_url], "hitline tests")
        async with connection:
            channel = await (await connection.channel(publisher_confirms=True)).get_underlay_channel()
            for number, chosen in enumerate([{}, *PROPERTIES]):
                properties = commands.Basic.Properties()
                for name, value in chosen.items():  # one by one: the constructor knows what is valid
                    setattr(properties, name, value)
                await channel.basic_publish(
                    b"foreign %d" % number,
                    exchange=queue.EXCHANGE,
                    routing_key=queue.PAGEVIEWS,
                    properties=properties,
                )


Encode = Callable[[Any], bytes]


def raw_timestamp(usual: Encode) -> Encode:
    return lambda value: struct.pack(">Q", value) if isinstance(value, int) else usual(value)


def raw_string(usual: Encode) -> Encode:
    return lambda value: bytes([len(value)]) + value if isinstance(value, bytes) else usual(value)


def raw_value(usual: Encode) -> Encode:
    """As other clients encode: floats as doubles, bytes as strings, times beyond any calendar."""

    def encoded(value: Any) -> bytes:
        if isinstance(value, float):
            return b"d" + struct.pack(">d", value)
        if isinstance(value, bytes):
            return b"S" + struct.pack(">I", len(value)) + value
        if value == 2**63:
            return b"T" + struct.pack(">Q", value)
        return usual(value)

    return encoded

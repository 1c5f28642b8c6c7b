"""Properties of other publishers that can't be decoded, or not encoded again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pamqp import commands
from pamqp.header import ContentHeader

from shared import properties


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = ContentHeader.unmarshal
    ContentHeader.unmarshal = properties._unmarshal  # type: ignore[method-assign]
    yield
    ContentHeader.unmarshal = before  # type: ignore[method-assign]


def frame(sent: commands.Basic.Properties) -> bytes:
    return ContentHeader(0, 1234, sent).marshal()


def read(data: bytes) -> ContentHeader:
    header = ContentHeader()
    header.unmarshal(data)
    return header


def test_properties_that_can_be_decoded_arrive_as_they_were_sent() -> None:
    properties.tolerate_undecodable()
    sent = commands.Basic.Properties(message_id="id", headers={"a": 1, "b": "text"})
    found = read(frame(sent))
    assert (found.body_size, found.properties.message_id, found.properties.headers) == (
        1234,
        "id",
        {"a": 1, "b": "text"},
    )


@pytest.mark.parametrize("timestamp", [10**18, 2**64 - 1], ids=["nanoseconds", "the most"])
def test_a_message_whose_properties_can_not_be_decoded_arrives_without(timestamp: int) -> None:
    sent = frame(commands.Basic.Properties(timestamp=datetime(2026, 1, 1, tzinfo=UTC), message_id="id"))
    broken = sent.replace(
        int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()).to_bytes(8, "big"), timestamp.to_bytes(8, "big")
    )
    assert broken != sent
    with pytest.raises((ValueError, OverflowError, OSError)):
        read(broken)
    properties.tolerate_undecodable()
    found = read(broken)
    assert found.body_size == 1234
    assert isinstance(found.properties, commands.Basic.Properties)
    assert (found.properties.message_id, found.properties.headers) == (None, None)


def test_headers_are_sent_again_as_far_as_they_can_be() -> None:
    good = {"number": 1, "text": "ü", "flag": True, "time": datetime(2026, 1, 1, tzinfo=UTC)}
    bad = {"a set": {1}, "an object": object()}
    assert properties.portable({**good, **bad}) == good  # type: ignore[dict-item]
    assert properties.portable(None) == {}
    assert properties.portable({}) == {}

"""Messages of the queue, and what of them is authenticated."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest

from shared.message import Headers, NewerSchema, build, open_body, read_headers
from shared.seal import Opener, Sealer, Unopenable

KEY = bytes(32)
HEADERS = Headers(uuid.UUID(int=7), pageviews=3, registry_version=1_700_000_000_000_000)


def delivered(message: aio_pika.Message, **changes: Any) -> aio_pika.Message:
    """Return the message as if some of its headers had been changed on the way."""
    message.headers = {**message.headers, **changes}
    return message


def test_a_built_message_is_read_and_opened() -> None:
    message = build(HEADERS, b"body", Sealer([KEY]))
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert read_headers(message) == HEADERS
    assert open_body(message, HEADERS, Opener([KEY])) == b"body"


@pytest.mark.parametrize(
    "change",
    [
        {"batch_id": uuid.UUID(int=8)},
        {"pageviews": 4},
        {"registry_version": 0},
        {"first_position": 1},
        {"repeated": True},
        {"schema": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_header_that_was_changed_is_noticed(change: dict[str, Any]) -> None:
    message = build(HEADERS, b"body", Sealer([KEY]))
    with pytest.raises(Unopenable):
        open_body(message, dataclasses.replace(HEADERS, **change), Opener([KEY]))


def test_every_header_is_among_those_that_are_changed_above() -> None:
    changed = {
        name
        for mark in test_a_header_that_was_changed_is_noticed.pytestmark
        for change in mark.args[1]
        for name in change
    }
    assert changed == {field.name for field in dataclasses.fields(Headers)}


def test_what_the_seal_covers_is_as_earlier_versions_wrote_it() -> None:
    headers = dataclasses.replace(HEADERS, first_position=12, repeated=True)
    assert headers.associated_data() == b"hitline|2|3|1700000000000000|12|1|" + bytes(15) + b"\x07"


@pytest.mark.parametrize("headers", [HEADERS, dataclasses.replace(HEADERS, first_position=65_535, repeated=True)])
def test_a_message_is_on_the_wire_as_earlier_versions_wrote_it(headers: Headers) -> None:
    sealer = Sealer([KEY])
    message = build(headers, b"body", sealer, {"reason": "poison"})
    assert message.properties.content_type == "application/octet-stream"
    assert message.properties.message_type == "hitline.pageviews"
    assert message.message_id == "00000000-0000-0000-0000-000000000007"
    assert message.timestamp is not None
    assert abs(message.timestamp - datetime.now(UTC)) < timedelta(minutes=5)
    assert message.headers == {
        "schema": 2,
        "key_id": sealer.key_id.hex(),
        "pageviews": 3,
        "registry_version": 1_700_000_000_000_000,
        "first_position": headers.first_position,
        "repeated": headers.repeated,
        "reason": "poison",
    }
    assert read_headers(message) == headers
    assert open_body(message, headers, Opener([KEY])) == b"body"


@pytest.mark.parametrize("name", ["schema", "pageviews", "registry_version", "first_position"])
@pytest.mark.parametrize("value", [None, "1", -1, True, 1.0, b"1"])
def test_a_malformed_header_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Unopenable):
        read_headers(delivered(build(HEADERS, b"", Sealer([KEY])), **{name: value}))


@pytest.mark.parametrize(
    "name", ["schema", "pageviews", "registry_version", "first_position", "repeated", "message_id"]
)
def test_a_missing_header_is_refused(name: str) -> None:
    message = build(HEADERS, b"", Sealer([KEY]))
    if name == "message_id":
        message.message_id = None
    else:
        del message.headers[name]
    with pytest.raises(Unopenable, match=r"^message id or headers are missing or malformed$"):
        read_headers(message)


def test_missing_headers_are_refused() -> None:
    messages: list[Any] = [aio_pika.Message(b""), aio_pika.Message(b"", message_id="7"), object()]
    for message in messages:
        with pytest.raises(Unopenable, match=r"^message id or headers are missing or malformed$"):
            read_headers(message)


def test_the_version_before_is_read_and_its_body_opened() -> None:
    older = dataclasses.replace(HEADERS, schema=1)
    message = build(older, b"body", Sealer([KEY]))
    assert read_headers(message) == older
    assert open_body(message, older, Opener([KEY])) == b"body"
    with pytest.raises(Unopenable):  # the version is authenticated
        open_body(message, HEADERS, Opener([KEY]))


def test_an_unknown_older_schema_version_is_refused() -> None:
    with pytest.raises(
        Unopenable, match=r"^unknown schema version: 0, while this version of Hitline reads 1 and 2$"
    ) as refused:
        read_headers(delivered(build(HEADERS, b"", Sealer([KEY])), schema=0))
    assert not isinstance(refused.value, NewerSchema)


@pytest.mark.parametrize("changes", [{}, {"pageviews": "three"}, {"registry_version": None}], ids=str)
def test_a_newer_schema_version_is_recognized_whatever_its_other_headers(changes: dict[str, Any]) -> None:
    with pytest.raises(NewerSchema, match="schema version: 3"):
        read_headers(delivered(build(HEADERS, b"", Sealer([KEY])), schema=3, **changes))

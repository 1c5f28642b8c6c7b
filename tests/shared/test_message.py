"""Messages of the queue, and what of them is authenticated."""

from __future__ import annotations

import dataclasses
import uuid
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
    [{"batch_id": uuid.UUID(int=8)}, {"pageviews": 4}, {"registry_version": 0}],
    ids=lambda change: next(iter(change)),
)
def test_a_header_that_was_changed_is_noticed(change: dict[str, Any]) -> None:
    message = build(HEADERS, b"body", Sealer([KEY]))
    with pytest.raises(Unopenable):
        open_body(message, dataclasses.replace(HEADERS, **change), Opener([KEY]))


@pytest.mark.parametrize("name", ["schema", "pageviews", "registry_version"])
@pytest.mark.parametrize("value", [None, "1", -1, True, 1.0, b"1"])
def test_a_malformed_header_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Unopenable):
        read_headers(delivered(build(HEADERS, b"", Sealer([KEY])), **{name: value}))


def test_missing_headers_are_refused() -> None:
    messages: list[Any] = [aio_pika.Message(b""), aio_pika.Message(b"", message_id="7"), object()]
    for message in messages:
        with pytest.raises(Unopenable, match="missing or malformed"):
            read_headers(message)


def test_the_version_before_is_read_and_its_body_opened() -> None:
    older = dataclasses.replace(HEADERS, schema=1)
    message = build(older, b"body", Sealer([KEY]))
    assert read_headers(message) == older
    assert open_body(message, older, Opener([KEY])) == b"body"
    with pytest.raises(Unopenable):  # the version is authenticated
        open_body(message, HEADERS, Opener([KEY]))


def test_an_unknown_older_schema_version_is_refused() -> None:
    with pytest.raises(Unopenable, match="schema version: 0") as refused:
        read_headers(delivered(build(HEADERS, b"", Sealer([KEY])), schema=0))
    assert not isinstance(refused.value, NewerSchema)


@pytest.mark.parametrize("changes", [{}, {"pageviews": "three"}, {"registry_version": None}], ids=str)
def test_a_newer_schema_version_is_recognized_whatever_its_other_headers(changes: dict[str, Any]) -> None:
    with pytest.raises(NewerSchema, match="schema version: 3"):
        read_headers(delivered(build(HEADERS, b"", Sealer([KEY])), schema=3, **changes))

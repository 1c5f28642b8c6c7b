"""From a JSON value to a packed pageview: what gateways of every version must make of the same one."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway import intake
from gateway.ids import Ids
from gateway.intake import IdempotencyKey, Intake
from gateway.json_text import Parsed
from shared.clocks import Clocks
from shared.pageview import parse, unpack
from shared.registry import Client

VALUE = {
    "url": "https://example.com/a",
    "timestamp": "2026-01-31T12:00:00Z",
    "visitor_ip": "192.0.2.1",
    "user_agent": "A/1",
}
PAGE = "0191d6c2-7f65-7c0e-9c83-9a4d0c7b1f11"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Intake:
    monkeypatch.setattr(intake, "authorize", lambda *_: None)
    nothing: Any = None
    return Intake(nothing, nothing, nothing, nothing, Ids("secret"), Clocks())


@pytest.mark.parametrize(
    ("more", "session_id", "page_id"),
    [
        ({}, "9662b0df544d8672ba3786afaa858589", "bfcb02ecf5808a088a2f16dab537e32a"),
        ({"page_id": PAGE}, "068757a571c58504ac5c036c4083f179", PAGE.replace("-", "")),
    ],
)
def test_an_idempotency_key_gives_the_ids_that_it_gave_before_schema_version_2(
    made: Intake, more: dict[str, str], session_id: str, page_id: str
) -> None:
    client = Client(b"c" * 16, "edge")
    packed = made.pack(Parsed({**VALUE, **more}, False), client, 1_769_860_800_000, IdempotencyKey(b"key"))
    found = parse(cast("tuple[Any, ...]", unpack(b"\x91" + packed)[0]))
    assert (found.session_id.hex(), found.page_id.hex()) == (session_id, page_id)
    assert not found.has_session


@pytest.mark.parametrize(
    ("session", "sent"),
    [(PAGE, True), ("", False), (None, False), ("00000000-0000-0000-0000-000000000000", False)],
)
def test_whether_the_session_was_sent_is_noted(made: Intake, session: str | None, sent: bool) -> None:
    packed = made.pack(
        Parsed({**VALUE, "session_id": session}, False), Client(b"c" * 16, "edge"), 1_769_860_800_000, None
    )
    assert parse(unpack(b"\x91" + packed)[0]).has_session is sent


@pytest.mark.parametrize(
    ("name", "longest"), [("url", 10_240), ("user_agent", 2_048), ("referrer", 4_096), ("language", 512)]
)
def test_as_much_of_a_text_is_queued_as_a_worker_reads(made: Intake, name: str, longest: int) -> None:
    text = ("https://example.com/" + "é" * 20_000)[:-1] + "\x7f"
    client = Client(b"c" * 16, "edge")
    value = Parsed({**VALUE, name: text}, False)
    found = parse(unpack(b"\x91" + made.pack(value, client, 1_769_860_800_000, None))[0])
    assert getattr(found, name) == text[:longest]
    ids = {found.page_id}
    for end in ("a", "b"):  # ids are derived from all of it, as gateways of every version do
        value.value[name] = text[:-1] + end
        packed = made.pack(value, client, 1_769_860_800_000, IdempotencyKey(b"key"))
        ids.add(parse(unpack(b"\x91" + packed)[0]).page_id)
    assert len(ids) == 3

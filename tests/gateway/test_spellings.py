"""What clients really send: spellings that mean the same, and decorations that are wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.intake import to_queued
from gateway.replies import Rejected
from gateway.validate import parse_json, validate
from shared import metrics
from shared.pageview import QueuedPageview
from tests.services import pageview

NOW_MS = 1_800_000_000_000
HEX = "4f2a1c0e9b7d4a3f8c6e5d4b3a291807"
UUID = "4f2a1c0e-9b7d-4a3f-8c6e-5d4b3a291807"


def queued(body: bytes) -> QueuedPageview:
    parsed = parse_json(body)
    return to_queued(validate(parsed.value, NOW_MS, repaired=parsed.repaired), bytes(16), 0, bytes(16), bytes(16))


def taken(**fields: Any) -> QueuedPageview:
    return queued(json.dumps(pageview(**{"timestamp": "2026-11-20T12:00:00Z", **fields})).encode())


def raw(field: str, value: bytes) -> bytes:
    """Return a body with these bytes as a field's string."""
    body = json.dumps(pageview(**{"timestamp": "2026-11-20T12:00:00Z", field: "HERE"})).encode()
    return body.replace(b"HERE", value)


def altered(column: str, change: str) -> float:
    return metrics.ALTERED.labels(column, change)._value.get()


@pytest.mark.parametrize("text", [UUID, UUID.upper(), HEX, f"{{{UUID}}}", f"urn:uuid:{UUID}", f"URN:UUID:{UUID}"])
def test_uuids(text: str) -> None:
    checked = validate(pageview(page_id=text, session_id=text), NOW_MS)

    assert checked.page_id == checked.session_id == bytes.fromhex(HEX)


@pytest.mark.parametrize("text", ["", None, "0" * 32, f"{{{'00000000-0000-0000-0000-000000000000'}}}"])
def test_absent_uuids(text: str | None) -> None:
    assert validate(pageview(page_id=text), NOW_MS).page_id is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T12:00:00.123Z",
        "2026-11-20T12:00:00,123Z",
        "2026-11-20t12:00:00.1239z",
        "2026-11-20 13:00:00.123+0100",
        "2026-11-20 13:00:00,123456789+01:00",
        " 2026-11-20T06:30:00.123-0530 ",
    ],
)
def test_times(text: str) -> None:
    assert taken(timestamp=text).timestamp_ms == 1_795_176_000_123


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("FE80:0::1%25en0", "fe80::1"),
        ("::ffff:192.0.2.1%1", "192.0.2.1"),
        (" ::1 ", "::1"),
    ],
)
def test_addresses(text: str, canonical: str) -> None:
    assert taken(visitor_ip=text).visitor_ip == canonical


def test_a_hyphen_is_an_absent_referrer_or_language() -> None:
    assert (taken(referrer="-").referrer, taken(language=" - ").language) == ("", "")
    assert taken(referrer="-x").referrer == "-x"


def test_a_visitor_without_a_user_agent_has_a_hyphen_and_an_error_says_so() -> None:
    assert taken(user_agent=" - ").user_agent == "-"
    with pytest.raises(Rejected) as rejected:
        taken(user_agent=" ")
    assert rejected.value.text == "user_agent: must not be empty; send - if the visitor sent none"


@pytest.mark.parametrize(
    ("sent", "kept", "change"),
    [
        (1920, 1920, None),
        (1920.0, 1920, None),
        (412.36, 412, "rounded"),
        (-56, 0, "out_of_range"),
        (70000, 0, "out_of_range"),
        (65535, 65535, None),
        (65535.7, 0, "out_of_range"),
        (10**30, 0, "out_of_range"),
        (-0.2, 0, "rounded"),
        (None, 0, None),
    ],
)
@pytest.mark.parametrize("column", ["screen_width", "screen_height", "viewport_width", "viewport_height"])
def test_sizes_never_cost_a_pageview(column: str, sent: float | None, kept: int, change: str | None) -> None:
    before = {name: altered(column, name) for name in ("rounded", "out_of_range")}

    assert getattr(taken(**{column: sent}), column) == kept
    if change is None:
        assert before == {name: altered(column, name) for name in before}
    else:
        assert altered(column, change) == before[change] + 1


@pytest.mark.parametrize("value", [b"\xe4", b"\\ud83d", b"\\uDE00", b"\xf0\x9f\x98", b"\xed\xa0\xbd"])
@pytest.mark.parametrize(
    ("field", "sent", "column"),
    [
        ("url", b"https://example.com/p/%b?q=%b", "url"),
        ("user_agent", b"A %b B", "user_agent"),
        ("referrer", b"%b", "referrer"),
    ],
)
def test_text_that_is_not_utf8_never_costs_a_pageview(field: str, sent: bytes, column: str, value: bytes) -> None:
    before = altered(column, "not_utf8")

    kept = getattr(queued(raw(field, sent.replace(b"%b", value))), field)

    assert "\ufffd" in kept
    assert kept.replace("\ufffd", "") == sent.replace(b"%b", b"").decode()
    assert altered(field, "not_utf8") == before + 1


def test_surrogate_pairs_and_escaped_backslashes_are_kept_beside_what_is_replaced() -> None:
    kept = queued(raw("referrer", rb"\ud83d\ude00 \\ud83d \ud83d \u00e4 \"" + "ä".encode())).referrer

    assert kept == '😀 \\ud83d \ufffd ä "ä'


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", b"https://ex\xe4mple.com/"),
        ("visitor_ip", b"192.0.2.1\xff"),
        ("timestamp", b"2026-11-20T12:00:00Z\xff"),
        ("page_id", b"\\ud83d"),
    ],
)
def test_what_must_be_utf8_says_so(field: str, value: bytes) -> None:
    with pytest.raises(Rejected) as rejected:
        queued(raw(field, value))

    assert rejected.value.text == f"{field}: is not UTF-8"


def test_a_replacement_character_that_was_sent_is_not_counted() -> None:
    before = altered("referrer", "not_utf8")

    assert taken(referrer="\ufffd").referrer == "\ufffd"
    assert altered("referrer", "not_utf8") == before

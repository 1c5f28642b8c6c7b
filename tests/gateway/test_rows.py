"""What becomes of accepted fields: read back from ClickHouse."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests import services
from tests.services import System

NIL = "00000000-0000-0000-0000-000000000000"
A_UUID = "2489E9AD-2EE2-8E00-8EC9-32D5F69181C0"


def stored(system: System, **fields: Any) -> dict[str, Any]:
    """Post a pageview and return its row, found by its page id."""
    page_id = str(uuid.uuid4())
    assert system.post(**{"page_id": page_id, **fields}).status == 202
    page_id = fields.get("page_id") or page_id
    sql = f"SELECT * FROM hitline.pageviews WHERE page_id = '{page_id}'"
    return services.wait_for(lambda: services.rows(system.clickhouse, sql))[0]


@pytest.mark.parametrize(
    ("authority", "hostname"),
    [
        ("example.com", "example.com"),
        ("www.example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("WWW.EXAMPLE.COM.", "example.com"),
        ("example.com.", "example.com"),
        ("example.com:8443", "example.com"),
        ("user:secret@example.com", "example.com"),
        ("alias.example", "alias.example"),
        ("a.wild.example.org", "a.wild.example.org"),
        ("a.b.wild.example.org", "a.b.wild.example.org"),
    ],
)
def test_a_site_is_found_however_its_hostname_is_written(system: System, authority: str, hostname: str) -> None:
    assert stored(system, url=f"https://{authority}/x")["hostname"] == hostname


def test_a_wildcard_does_not_cover_its_own_domain(system: System) -> None:
    assert system.post(url="https://wild.example.org/").status == 404


def test_an_internationalised_hostname_is_found_in_both_forms(system: System) -> None:
    services.hitline(system.env, "site", "add", "bücher.example")
    services.hitline(system.env, "client", "grant", "tests", "--grant", "bücher.example")
    services.wait_for(lambda: system.post(dnt=True, url="https://bücher.example/").status == 202)

    assert stored(system, url="https://BÜCHER.example/ä")["hostname"] == "xn--bcher-kva.example"
    assert stored(system, url="https://www.xn--bcher-kva.example/")["hostname"] == "xn--bcher-kva.example"


def test_utm_values_come_from_the_url_alone_trimmed_and_decoded(system: System) -> None:
    row = stored(
        system,
        url="https://example.com/p?utm_source=%20news+letter%20&utm_medium=e%2Dmail&utm_source=second&utm_term=%E2%9C%93",
        utm_source="body", utm_campaign="body", qr_id=A_UUID, hk_qr=A_UUID,
    )  # fmt: skip

    assert [row[f"utm_{name}"] for name in ("source", "medium", "campaign", "term", "content")] == [
        "news letter", "e-mail", "", "✓", "",
    ]  # fmt: skip
    assert row["qr_id"] is None
    assert row["path"] == "/p"


def test_hk_qr_is_kept_when_it_is_a_uuid_and_none_otherwise(system: System) -> None:
    assert stored(system, url=f"https://example.com/?hk_qr={A_UUID}")["qr_id"] == A_UUID.lower()
    assert stored(system, url="https://example.com/?hk_qr=nonsense")["qr_id"] is None


def test_given_ids_are_kept_in_whatever_version(system: System) -> None:
    row = stored(system, session_id=A_UUID, page_id=A_UUID)

    assert (row["session_id"], row["page_id"]) == (A_UUID.lower(), A_UUID.lower())


@pytest.mark.parametrize("absent", [..., None, NIL])
def test_omitted_ids_are_made(system: System, absent: Any) -> None:
    marker = uuid.uuid4().hex
    assert system.post(url=f"https://example.com/{marker}", session_id=absent, page_id=absent).status == 202
    sql = f"SELECT session_id, page_id FROM hitline.pageviews WHERE path = '/{marker}'"
    row = services.wait_for(lambda: services.rows(system.clickhouse, sql))[0]

    assert uuid.UUID(row["session_id"]).version == 4
    assert uuid.UUID(row["page_id"]).version == 4
    assert row["session_id"] != row["page_id"]


def test_a_session_for_a_given_page_is_derived_from_it(system: System) -> None:
    page_id = str(uuid.uuid4())
    for second in (1, 2):
        assert system.post(page_id=page_id, timestamp=f"2026-01-01T00:00:0{second}Z").status == 202

    where = f"page_id = '{page_id}'"
    services.wait_for(lambda: services.count(system.clickhouse, "pageviews", where) == 2)
    sql = f"SELECT DISTINCT session_id FROM hitline.pageviews WHERE {where}"
    (session,) = services.rows(system.clickhouse, sql)
    assert session["session_id"] != NIL


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-01-31T12:34:56.789Z", "2026-01-31 12:34:56.789"),
        ("2026-01-31t12:34:56z", "2026-01-31 12:34:56.000"),
        ("2026-01-31T12:34:56.7899999999+05:30", "2026-01-31 07:04:56.789"),
        ("2026-01-31T23:59:59.9-00:30", "2026-02-01 00:29:59.900"),
        ("2016-12-31T23:59:60Z", "2017-01-01 00:00:00.000"),
        ("1990-01-01T00:00:00Z", "1990-01-01 00:00:00.000"),
        ("  2026-01-31T00:00:00-00:00\n", "2026-01-31 00:00:00.000"),
    ],
)
def test_times_are_stored_in_utc_to_the_millisecond(system: System, sent: str, kept: str) -> None:
    assert stored(system, timestamp=sent)["timestamp"] == kept


def test_odd_strings_are_stored_as_they_came(system: System) -> None:
    odd = "NUL \x00 tab \t quote ' \" \\ emoji 🦊 rtl \u202e end"

    row = stored(system, user_agent=odd, referrer=odd)

    assert (row["user_agent"], row["referrer"]) == (odd, odd)


@pytest.mark.parametrize("value", [b"\xe4", b"\\ud83d"])
@pytest.mark.parametrize(("field", "column"), [("url", "path"), ("user_agent", "user_agent"), ("referrer", "referrer")])
def test_text_that_is_not_utf8_is_stored_with_replacement_characters(
    system: System, field: str, column: str, value: bytes
) -> None:
    page_id = str(uuid.uuid4())
    body = json.dumps(services.pageview(page_id=page_id, **{field: "https://example.com/p/HERE"})).encode()

    assert system.post(body.replace(b"HERE", value)).status == 202

    sql = f"SELECT {column} AS kept FROM hitline.pageviews WHERE page_id = '{page_id}'"
    kept = services.wait_for(lambda: services.rows(system.clickhouse, sql))[0]["kept"]
    assert kept.endswith("/p/\ufffd")


def test_sizes_are_stored_and_absent_ones_are_0(system: System) -> None:
    row = stored(system, screen_width=65535.0, screen_height=0, viewport_width=None)

    assert [row[f"{of}_{side}"] for of in ("screen", "viewport") for side in ("width", "height")] == [65535, 0, 0, 0]


def test_a_repeated_pageview_is_one_row_and_the_same_page_at_another_time_another(system: System) -> None:
    ids = services.ids()
    for second in (1, 1, 1, 2):
        assert system.post(timestamp=f"2026-02-01T00:00:0{second}Z", **ids).status == 202
    where = f"page_id = '{ids['page_id']}'"
    services.wait_for(lambda: services.count(system.clickhouse, "pageviews", where) == 2)


def test_a_hostname_that_a_site_gets_and_gives_up_counts_within_5_seconds(system: System) -> None:
    def status() -> int:
        return system.post(url="https://later.example/", dnt=True).status

    assert status() == 404
    for option, expected in (("--hostname", 202), ("--without", 404)):
        services.hitline(system.env, "site", "change", "example.com", option, "later.example")
        services.wait_for(lambda expected=expected: status() == expected, 15)

"""`hitline explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.cli.conftest import Hitline

PAGEVIEW = {
    "url": "https://www.example.com/shop?utm_source=news",
    "timestamp": "2026-01-31T12:00:00.123Z",
    "visitor_ip": "192.0.2.1",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
}


@pytest.fixture(autouse=True)
def _site(hitline: Hitline) -> None:
    hitline("site", "add", "example.com")


def explained(hitline: Hitline, pageview: dict[str, Any], *options: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(hitline("explain", "-", "--json", *options, stdin=json.dumps(pageview)).stdout)
    return answer


def test_a_pageview_that_would_be_stored_shows_its_row(hitline: Hitline) -> None:
    answer = explained(hitline, PAGEVIEW)
    assert answer["outcome"] == "stored"
    row = answer["row"]
    assert (row["hostname"], row["path"], row["utm_source"]) == ("example.com", "/shop", "news")
    assert row["timestamp"] == "2026-01-31T12:00:00.123Z"
    assert row["browser"] == "Firefox"
    assert [step["step"] for step in answer["steps"]][:3] == ["put_site", "drop_too_old", "drop_dnt"]


def test_a_drop_names_its_rule_and_ends_the_steps(hitline: Hitline) -> None:
    hitline("exclude", "add", "--path", "/shop", "--site", "example.com")
    answer = explained(hitline, PAGEVIEW)
    assert answer["outcome"] == "excluded_path"
    assert answer["rule"] == "path /shop of example.com"
    assert answer["steps"][-1]["decision"] == "drop"
    assert "row" not in answer


def test_a_pageview_that_a_gateway_would_refuse_says_why(hitline: Hitline) -> None:
    answer = explained(hitline, {**PAGEVIEW, "visitor_ip": "nowhere"})
    assert (answer["outcome"], answer["status"]) == ("rejected", 400)
    assert "visitor_ip" in answer["message"]


def test_an_unknown_hostname_is_dropped(hitline: Hitline) -> None:
    assert explained(hitline, PAGEVIEW, "--url", "https://example.net/")["outcome"] == "unknown_site"


def test_options_alone_make_a_pageview(hitline: Hitline) -> None:
    shown = hitline("explain", "--url", "https://example.com/", "--ip", "192.0.2.1").stdout
    assert "It would be stored as" in shown
    assert "put_site" in shown


@pytest.mark.parametrize("options", [[], ["--url", "https://example.com/"], ["--ip", "192.0.2.1", "--json"]])
def test_options_without_a_pageview_are_an_error(hitline: Hitline, options: list[str]) -> None:
    assert "no pageview given" in hitline("explain", *options, expect=1).stderr


def test_the_visitors_address_appears_in_neither_steps_nor_row(hitline: Hitline) -> None:
    assert "192.0.2.1" not in json.dumps(explained(hitline, PAGEVIEW))


def test_a_missing_file_is_an_error(hitline: Hitline, tmp_path: Path) -> None:
    assert "can't be read" in hitline("explain", str(tmp_path / "none"), expect=1).stderr


def test_a_file_without_a_timestamp_gets_one_when_a_field_is_given(hitline: Hitline) -> None:
    untimed = {name: value for name, value in PAGEVIEW.items() if name != "timestamp"}
    assert explained(hitline, untimed, "--ip", "192.0.2.1")["outcome"] == "stored"
    assert explained(hitline, untimed)["outcome"] == "rejected"


def test_what_a_site_s_options_do_is_shown(hitline: Hitline) -> None:
    hitline("site", "change", "example.com", "--hash-paths", "--query-drop", "token", "--sessions", "derived")
    url = "https://example.com/app?utm_source=news&token=secret#/users"
    answer = explained(hitline, {**PAGEVIEW, "url": url})
    site, visitor = (next(s["found"] for s in answer["steps"] if s["step"] == f"put_{n}") for n in ("site", "visitor"))
    assert (site["query_drop"], site["hash_paths"], site["derived_sessions"]) == (["token"], True, True)
    assert visitor == {"session": "derived: the visitor's of that day (UTC)"}
    row = answer["row"]
    assert (row["path"], row["query"], row["utm_source"]) == ("/app#/users", "utm_source=news", "news")
    assert row["session_id"] == visitor["session"]
    assert "secret" not in json.dumps(answer)
    own = {**PAGEVIEW, "session_id": "0191d6c2-7f65-7c0e-9c83-9a4d0c7b1f11"}
    assert explained(hitline, own)["row"]["session_id"] == own["session_id"]

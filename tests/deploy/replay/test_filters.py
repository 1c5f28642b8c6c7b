"""What is a pageview, and what is left out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploy.replay import filters
from deploy.replay.entry import Entry, Malformed
from deploy.replay.filters import BadRule, Filter
from deploy.replay.ids import Ids
from deploy.replay.pageview import Site, to_pageview, url_of

ENTRY = Entry(1_772_706_030_120, "198.51.100.7", "GET", "/a?b", 200, "shop.example", "https", "Mozilla/5.0")


def reason(only: tuple[str, ...] = (), leave_out: tuple[str, ...] = (), **changes: object) -> str | None:
    keep = Filter(filters.METHODS, filters.STATUSES, filters.STATIC, only, leave_out)
    return keep.reason(dataclasses.replace(ENTRY, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"method": "POST"}, "method POST"),
        ({"method": "get"}, "method get"),
        ({"method": "X-\x1b"}, "method (other)"),
        ({"status": 301}, "status 301"),
        ({"status": 0}, None),
        ({"prefetch": True}, "prefetch"),
        ({"target": "/x.PNG?v=1"}, "static file"),
        ({"target": "/x.css;v=1"}, "static file"),
        ({"target": "https://shop.example/x.js"}, "static file"),
        ({"target": "/page?file=x.png"}, None),
        ({"target": "/v1.2/page"}, None),
        ({"target": "/index.html"}, None),
        ({"target": "/index.php"}, None),
    ],
)
def test_defaults(changes: dict[str, Any], expected: str | None) -> None:
    assert reason(**changes) == expected


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ("path=/a", True), ("path=/*", True), ("path=/b*", False), ("path~^/a$", True), ("query=b", True),
        ("host=*.example", True), ("user_agent~(?i)mozilla", True), ("referrer~.", False),
        ("visitor_ip=198.51.100.0/24", True), ("visitor_ip=2001:db8::/32", False), ("visitor_ip~^198", True),
    ],
)  # fmt: skip
def test_rules_of_ones_own(rule: str, matches: bool) -> None:
    assert reason(leave_out=(rule,)) == (f"--exclude {rule}" if matches else None)
    assert reason(only=(rule,)) == (None if matches else f"not --only {rule}")


@pytest.mark.parametrize("rule", ["", "path", "nothing=x", "path~(", "visitor_ip=x"])
def test_a_rule_that_can_not_be_read_says_why(rule: str) -> None:
    with pytest.raises(BadRule, match="rule"):
        filters.parse_rule(rule)


def test_statuses() -> None:
    assert filters.parse_statuses("200,304") == {200, 304}
    assert filters.parse_statuses("2XX 301-302") == {*range(200, 300), 301, 302}
    with pytest.raises(BadRule, match="'2x'"):
        filters.parse_statuses("2x")


@pytest.mark.parametrize(
    ("changes", "site", "url"),
    [
        ({}, None, "https://shop.example/a?b"),
        ({"host": "", "scheme": ""}, "http://example.com", "http://example.com/a?b"),
        ({"scheme": ""}, "http://example.com", "http://shop.example/a?b"),
        ({"scheme": ""}, None, "https://shop.example/a?b"),
        ({"target": "http://other.example:81?x"}, "https://example.com", "http://other.example/?x"),
        ({"target": "HTTPS://u:p@Other.example:443/x"}, None, "https://other.example/x"),
        ({"target": "/a b\x01\t\x7f"}, None, "https://shop.example/a%20b%01%09%7F"),
        ({"target": "//x/y"}, None, "https://shop.example//x/y"),
        ({"host": "", "target": "/ä"}, "example.com", "https://example.com/ä"),
    ],
)
def test_urls(changes: dict[str, str], site: str | None, url: str) -> None:
    assert url_of(dataclasses.replace(ENTRY, **changes), Site.of(site)) == url  # type: ignore[arg-type]


def test_a_log_without_hosts_wants_a_site_url() -> None:
    with pytest.raises(Malformed, match="give --site-url"):
        url_of(dataclasses.replace(ENTRY, host=""), Site.of(None))
    for wrong in ("https://example.com/path", "ftp://example.com", "https://"):
        with pytest.raises(ValueError, match="must"):
            Site.of(wrong)


def test_the_item() -> None:
    entry = dataclasses.replace(ENTRY, user_agent=" ", referrer="https://x.example/", do_not_track=True, language="de")
    assert to_pageview(entry, "https://shop.example/", Ids("s", "p")) == {
        "url": "https://shop.example/", "timestamp": "2026-03-05T10:20:30.120Z", "visitor_ip": "198.51.100.7",
        "user_agent": "-", "session_id": "s", "page_id": "p", "referrer": "https://x.example/", "language": "de",
        "dnt": True,
    }  # fmt: skip

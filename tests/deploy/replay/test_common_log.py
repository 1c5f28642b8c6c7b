"""The common and the combined log format, the odd lines too."""

# ruff: noqa: E501 - log lines are long

from __future__ import annotations

import pytest

from deploy.replay.entry import Entry, Malformed
from tests.deploy.replay.lines import (
    AGENT,
    COMBINED,
    MOMENT,
    parse,
)


def test_combined() -> None:
    assert parse("combined", COMBINED.format(AGENT)) == Entry(
        MOMENT, "198.51.100.7", "GET", "/a?b=1", 200, user_agent=AGENT, referrer="https://x.example/"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 304 -', {"status": 304, "user_agent": ""}),
        ('198.51.100.7 - ann b [05/Mar/2026:11:20:30 +0100] "GET / HTTP/2.0" 200 1', {"time_ms": MOMENT}),
        ('198.51.100.7 - - [05/Mar/2026:04:50:30 -0530] "GET / HTTP/1.1" 200 1', {"time_ms": MOMENT}),
        ('2001:DB8::7 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1', {"address": "2001:db8::7"}),
        ('::ffff:198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1', {"address": "198.51.100.7"}),
        ('fe80::1%eth0 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1', {"address": "fe80::1"}),
        (
            '198.51.100.7, 10.0.0.1 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1 "-" "-"',
            {"address": "198.51.100.7", "user_agent": "", "referrer": ""},
        ),
        (
            'unknown, 198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1 "-" "-"',
            {"address": "198.51.100.7", "host": ""},
        ),
        (
            'shop.example:443 198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1 "-" "x"',
            {"host": "shop.example", "scheme": "https", "address": "198.51.100.7"},
        ),
        (
            '198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET http://other.example:80/p?q HTTP/1.1" 200 1 "-" "x"',
            {"target": "http://other.example:80/p?q"},
        ),
        ('198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /a b HTTP/1.1" 200 1 "-" "x"', {"target": "/a b"}),
        ('198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /old" 200 1 "-" "x"', {"target": "/old"}),
        (r'198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /\"x\" HTTP/1.1" 200 1 "-" "a \"b\" \\ \t"',
         {"target": '/"x"', "user_agent": 'a "b" \\'}),
        (r'198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /caf\xC3\xA9 HTTP/1.1" 200 1 "-" "\x22q\x22 \xe4"',
         {"target": "/café", "user_agent": '"q" �'}),
        (b'198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /\xe4 HTTP/1.1" 200 1 "-" "caf\xc3\xa9 \xe4"',
         {"target": "/�", "user_agent": "café �"}),
        ('198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1 "-" "cut off here', {"user_agent": "cut off here"}),
        ('198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1 "-" "it says "hi" now"',
         {"user_agent": 'it says "hi" now'}),
        ('198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /say"hi" HTTP/1.1" 200 1 "-" "x"', {"target": '/say"hi"'}),
        ('198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /t HTTP/1.1" 200 1 "-" "x" 12 "web@docker" "http://10.0.0.2" 3ms',
         {"target": "/t", "user_agent": "x"}),
    ],
)  # fmt: skip
def test_common_log_as_it_comes(line: str | bytes, expected: dict[str, object]) -> None:
    entry = parse("combined", line)
    assert {name: getattr(entry, name) for name in expected} == expected


def test_forwarded_for_after_the_agent_is_used_if_asked_for() -> None:
    line = COMBINED.format(AGENT) + ' "203.0.113.9, 10.0.0.1"'
    assert parse("combined", line).address == "198.51.100.7"
    assert parse("combined", line, forwarded=True).address == "203.0.113.9"
    assert parse("combined", COMBINED.format(AGENT) + ' "-"', forwarded=True).address == "198.51.100.7"


@pytest.mark.parametrize(
    ("request_line", "reason"),
    [
        ("-", "not an HTTP request"),
        (r"\x16\x03\x01\x02", "not an HTTP request"),
        ("", "not an HTTP request"),
        ("GET", "not an HTTP request"),
        ("t3 12.1.2", "not an HTTP request"),
    ],
)
def test_a_line_without_a_request_is_malformed(request_line: str, reason: str) -> None:
    line = f'198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "{request_line}" 400 0 "-" "-"'
    with pytest.raises(Malformed, match=reason):
        parse("combined", line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no log at all",
        'host.example - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1',
        '198.51.100.7 - - [31/Feb/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1',
        '198.51.100.7 - - [05/Mrz/2026:10:20:30 +0000] "GET / HTTP/1.1" 200 1',
        '198.51.100.7 - - [05/Mar/0001:10:20:30 +0000] "GET / HTTP/1.1" 200 1',
        '198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1"',
        " " * 60_000 + '" 200 1' * 10_000,
    ],
)
def test_malformed_common_log(line: str) -> None:
    with pytest.raises(Malformed):
        parse("combined", line)

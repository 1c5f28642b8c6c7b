"""Every other format from lines as its writers write them, and formats of one's own."""

# ruff: noqa: E501 - log lines are long

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest

from deploy.replay import formats
from deploy.replay.entry import Entry, Malformed
from deploy.replay.times import LocalClock
from tests.deploy.replay.lines import (
    AGENT,
    ALB,
    CLOUDFRONT,
    HAPROXY,
    IIS,
    MOMENT,
    NGINX,
    TRAEFIK,
    UTC,
    caddy,
    parse,
)


def fields(entry: Entry, *names: str) -> tuple[object, ...]:
    return tuple(getattr(entry, name) for name in names)


def test_json_of_nginx() -> None:
    assert parse("json", json.dumps(NGINX)) == Entry(
        MOMENT, "2001:db8::1", "GET", "/p?x=1", 200, "shop.example", "https", AGENT, "https://x.example/", "de-AT", True
    )
    assert parse("json", json.dumps({**NGINX, "msec": 1772706030.123, "status": 200})).time_ms == MOMENT + 123
    line = json.dumps({"time_local": "05/Mar/2026:10:20:30 +0000", "remote_addr": "::1", "request": "GET / HTTP/1.1"})
    assert fields(parse("json", line), "time_ms", "target", "status") == (MOMENT, "/", 0)
    assert parse("json", json.dumps({**NGINX, "http_sec_purpose": "prefetch;prerender"})).prefetch
    assert parse("json", json.dumps({**NGINX, "http_sec_gpc": "1", "http_dnt": "0"})).do_not_track
    assert not parse("json", json.dumps({**NGINX, "http_dnt": "0"})).do_not_track


@pytest.mark.parametrize(
    ("raw", "agent"),
    [
        (b"caf\xe9", "caf�"),
        (rb"a \x22b\x22 \x5C\xC3\xA9", 'a "b" \\é'),
        (rb"\ud83d cut", "� cut"),
        (b"tab\there", "tab\there"),
    ],
)
def test_json_that_is_not_quite(raw: bytes, agent: str) -> None:
    line = json.dumps({**NGINX, "http_user_agent": "@"}).encode().replace(b"@", raw)
    assert parse("json", line).user_agent == agent


@pytest.mark.parametrize(
    "line", ['{"a": ', "[]", "1", '{"level":"info","msg":"started"}', "{" * 60_000, '{"a":' * 9_000]
)
def test_malformed_json(line: str) -> None:
    with pytest.raises(Malformed):
        parse("json", line)


def test_json_of_caddy() -> None:
    assert parse("caddy", caddy()) == Entry(
        MOMENT + 250, "198.51.100.7", "GET", "/p?x=1", 200, "shop.example", "https", AGENT, "https://x.example/", "fr", True
    )  # fmt: skip
    assert parse("caddy", caddy(ts="2026/03/05 10:20:30.250")).time_ms == MOMENT + 250
    old = {"remote_addr": "198.51.100.7:5511", "method": "GET", "uri": "/", "host": "a.example", "headers": {}}
    assert parse("caddy", caddy(request=old)).address == "198.51.100.7"


def test_json_of_traefik() -> None:
    assert parse("traefik", json.dumps(TRAEFIK)) == Entry(
        MOMENT + 123, "198.51.100.7", "GET", "/p?x=1", 200, "shop.example", "https", AGENT, "https://x.example/"
    )


def test_iis() -> None:
    agent = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    assert parse("w3c", *IIS) == Entry(
        MOMENT, "198.51.100.7", "GET", "/my+page/%C3%A9?x=1&y=2", 200, "shop.example", "https", agent
    )


def test_fields_may_change_in_the_middle_and_the_date_may_be_a_directive() -> None:
    log = formats.make("w3c", UTC, False)
    lines = [*IIS, "#Date: 2026-03-05 00:00:00", "#Fields: time c-ip cs-method cs-uri-stem", '10:20:30 ::1 GET "/a b"']
    entries = [entry for line in lines if (entry := log.parse(line.encode()))]
    assert [fields(each, "time_ms", "address", "target") for each in entries] == [
        (MOMENT, "198.51.100.7", "/my+page/%C3%A9?x=1&y=2"), (MOMENT, "::1", "/a%20b"),
    ]  # fmt: skip
    with pytest.raises(Malformed, match="not as many values"):
        log.parse(b"10:20:30 ::1 GET")
    with pytest.raises(Malformed, match="before any #Fields"):
        formats.make("w3c", UTC, False).parse(b"10:20:30 ::1 GET /")


def test_cloudfront() -> None:
    assert parse("cloudfront", *CLOUDFRONT) == Entry(
        MOMENT, "2001:db8::7", "GET", "/p.html?x=1", 200, "shop.example", "https", "Mozilla/5.0 (X11; Linux)",
        "https://x.example/",
    )  # fmt: skip
    once = CLOUDFRONT[2].replace("%2520", "%20")
    assert parse("cloudfront", CLOUDFRONT[1], once).user_agent == "Mozilla/5.0 (X11; Linux)"
    assert parse("cloudfront", *CLOUDFRONT, forwarded=True).address == "203.0.113.9"


def test_alb() -> None:
    assert parse("alb", ALB.format("198.51.100.7:2817")) == Entry(
        MOMENT + 364, "198.51.100.7", "GET", "https://shop.example:443/p?x=1", 200, "shop.example",
        user_agent='Mozilla/5.0 ("x")',
    )  # fmt: skip
    assert parse("alb", ALB.format("2001:db8::7:2817")).address == "2001:db8::7"
    assert parse("alb", ALB.format("[2001:db8::7]:2817")).address == "2001:db8::7"


def test_classic_elb() -> None:
    line = (
        "2026-03-05T10:20:30.943945Z my-lb 198.51.100.7:2817 10.0.0.1:80 0.00 0.001 0.00 200 200 0 29"
        ' "GET http://shop.example:80/ HTTP/1.1" "curl/7.38.0" - -'
    )
    assert parse("elb", line) == Entry(
        MOMENT + 943, "198.51.100.7", "GET", "http://shop.example:80/", 200, user_agent="curl/7.38.0"
    )
    with pytest.raises(Malformed, match="not an HTTP request"):
        parse("elb", line.replace("GET http://shop.example:80/ HTTP/1.1", "- - - "))


def test_haproxy() -> None:
    expected = Entry(
        MOMENT + 655, "198.51.100.7", "GET", "/p?x=1", 200, "shop.example", "https", "Mozilla/5.0 (X11; {x})",
        "https://x.example/",
    )  # fmt: skip
    assert parse("haproxy", HAPROXY) == expected
    assert parse("haproxy", f"Mar  5 10:20:31 lb haproxy[14389]: {HAPROXY}") == expected
    assert parse("haproxy", f"<134>1 2026-03-05T10:20:31Z lb haproxy 14389 - - {HAPROXY}") == expected
    bare = HAPROXY.replace(" {shop.example|Mozilla/5.0 (X11; #7Bx#7D)|https://x.example/} {}", "")
    assert fields(parse("haproxy", bare), "host", "user_agent", "target") == ("", "", "/p?x=1")
    with pytest.raises(Malformed, match="not an HTTP request"):
        parse("haproxy", bare.replace("GET /p?x=1 HTTP/1.1", "<BADREQ>"))


@pytest.mark.parametrize(
    ("template", "line"),
    [
        (
            "$host $remote_addr [$time_local] \"$request\" $status \"$http_user_agent\" $request_time",
            f'shop.example ::1 [05/Mar/2026:10:20:30 +0000] "GET /p?x=1 HTTP/1.1" 200 "{AGENT}" 0.1',
        ),
        ("$msec|$remote_addr|$request_uri|$host|$status|$http_user_agent", f"1772706030.000|::1|/p?x=1|shop.example|200|{AGENT}"),
        (
            '%v %h %l %u %t \\"%r\\" %>s %b \\"%{User-Agent}i\\"',
            f'shop.example ::1 - - [05/Mar/2026:10:20:30 +0000] "GET /p?x=1 HTTP/1.1" 200 5 "{AGENT}"',
        ),
        ("%a %{msec}t %m %U%q %s %{Host}i '%{user-agent}i'", f"::1 1772706030000 GET /p?x=1 200 shop.example '{AGENT}'"),
    ],
)  # fmt: skip
def test_formats_of_ones_own(template: str, line: str) -> None:
    assert parse(template, line) == Entry(MOMENT, "::1", "GET", "/p?x=1", 200, "shop.example", user_agent=AGENT)
    with pytest.raises(Malformed, match="does not match"):
        parse(template, "something else")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("combned", "neither a known"), ("$remote_addr $status", "time, request"), ("%h %r", "time"),
        ("$remote_addr$time_local $request", "nothing between"),
    ],
)  # fmt: skip
def test_a_template_that_can_not_work_says_why(template: str, message: str) -> None:
    with pytest.raises(formats.BadTemplate, match=message):
        formats.make(template, UTC, False)


def test_local_times_in_the_hour_that_comes_twice() -> None:
    clock = LocalClock(ZoneInfo("Europe/Vienna"))
    texts = ["25/Oct/2026:01:59:00.000", "25/Oct/2026:02:30:00.000", "25/Oct/2026:02:59:00.000", "25/Oct/2026:02:10:00.000",
             "25/Oct/2026:02:58:00.000", "25/Oct/2026:03:10:00.000"]  # fmt: skip
    moments = [clock(text) for text in texts]
    assert [(each - moments[0]) // 60_000 for each in moments] == [0, 31, 60, 71, 119, 131]

"""Each format from lines as its writers write them, the odd ones too."""

# ruff: noqa: E501 - log lines are long

from __future__ import annotations

import contextlib
import json
import time
from zoneinfo import ZoneInfo

import pytest

from deploy.replay import detect, formats
from deploy.replay.entry import Entry, Malformed
from deploy.replay.times import LocalClock

UTC = ZoneInfo("UTC")
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
#: 2026-03-05T10:20:30Z
MOMENT = 1_772_706_030_000


def parse(wanted: str, *lines: bytes | str, forwarded: bool = False) -> Entry:
    """Return the last line's entry."""
    log = formats.make(wanted, UTC, forwarded)
    entry = None
    for line in lines:
        entry = log.parse(line if isinstance(line, bytes) else line.encode())
    assert entry is not None
    return entry


def fields(entry: Entry, *names: str) -> tuple[object, ...]:
    return tuple(getattr(entry, name) for name in names)


COMBINED = '198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /a?b=1 HTTP/1.1" 200 512 "https://x.example/" "{}"'


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


NGINX = {
    "time_iso8601": "2026-03-05T11:20:30+01:00", "remote_addr": "2001:db8::1", "request_method": "GET",
    "request_uri": "/p?x=1", "status": "200", "host": "shop.example", "scheme": "https",
    "http_referer": "https://x.example/", "http_user_agent": AGENT, "http_dnt": "1", "http_accept_language": "de-AT",
}  # fmt: skip


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


def caddy(**changes: object) -> str:
    request = {
        "remote_ip": "10.0.0.9", "remote_port": "41342", "client_ip": "198.51.100.7", "proto": "HTTP/2.0",
        "method": "GET", "host": "shop.example:8443", "uri": "/p?x=1", "tls": {"version": 772},
        "headers": {"User-Agent": [AGENT], "Referer": ["https://x.example/"], "Sec-Gpc": ["1"], "Accept-Language": ["fr"]},
    }  # fmt: skip
    return json.dumps({"level": "info", "ts": 1772706030.25, "logger": "http.log.access", "request": request, "status": 200} | changes)  # fmt: skip


def test_json_of_caddy() -> None:
    assert parse("caddy", caddy()) == Entry(
        MOMENT + 250, "198.51.100.7", "GET", "/p?x=1", 200, "shop.example", "https", AGENT, "https://x.example/", "fr", True
    )  # fmt: skip
    assert parse("caddy", caddy(ts="2026/03/05 10:20:30.250")).time_ms == MOMENT + 250
    old = {"remote_addr": "198.51.100.7:5511", "method": "GET", "uri": "/", "host": "a.example", "headers": {}}
    assert parse("caddy", caddy(request=old)).address == "198.51.100.7"


TRAEFIK = {
    "ClientAddr": "198.51.100.7:5511", "ClientHost": "198.51.100.7", "DownstreamStatus": 200, "OriginStatus": 200,
    "RequestHost": "shop.example", "RequestMethod": "GET", "RequestPath": "/p?x=1", "RequestScheme": "https",
    "StartUTC": "2026-03-05T10:20:30.123456789Z", "request_User-Agent": AGENT, "request_Referer": "https://x.example/",
}  # fmt: skip


def test_json_of_traefik() -> None:
    assert parse("traefik", json.dumps(TRAEFIK)) == Entry(
        MOMENT + 123, "198.51.100.7", "GET", "/p?x=1", 200, "shop.example", "https", AGENT, "https://x.example/"
    )


IIS = (
    "#Software: Microsoft Internet Information Services 10.0",
    "#Date: 2026-03-05 10:00:00",
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port c-ip cs(User-Agent) cs(Referer) cs-host sc-status",
    "2026-03-05 10:20:30 10.0.0.1 GET /my+page/é x=1&y=2 443 198.51.100.7"
    " Mozilla/5.0+(compatible;+Googlebot/2.1;++http://www.google.com/bot.html) - shop.example 200",
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


CLOUDFRONT = (
    "#Version: 1.0",
    "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent)"
    " cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken"
    " x-forwarded-for",
    "\t".join([
        "2026-03-05", "10:20:30", "FRA2", "392", "2001:db8::7", "GET", "d111.cloudfront.net", "/p.html", "200",
        "https://x.example/", "Mozilla/5.0%2520(X11;%2520Linux)", "x=1", "-", "Hit", "id", "shop.example", "https", "23",
        "0.1", "203.0.113.9",
    ]),
)  # fmt: skip


def test_cloudfront() -> None:
    assert parse("cloudfront", *CLOUDFRONT) == Entry(
        MOMENT, "2001:db8::7", "GET", "/p.html?x=1", 200, "shop.example", "https", "Mozilla/5.0 (X11; Linux)",
        "https://x.example/",
    )  # fmt: skip
    once = CLOUDFRONT[2].replace("%2520", "%20")
    assert parse("cloudfront", CLOUDFRONT[1], once).user_agent == "Mozilla/5.0 (X11; Linux)"
    assert parse("cloudfront", *CLOUDFRONT, forwarded=True).address == "203.0.113.9"


ALB = (
    'h2 2026-03-05T10:20:31.186641Z app/my-lb/50dc6c495c0c9188 {} 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366'
    ' "GET https://shop.example:443/p?x=1 HTTP/2.0" "Mozilla/5.0 (\\"x\\")" ECDHE-RSA TLSv1.2 arn:aws:tg/73e2d6bc24d8a067'
    ' "Root=1-58337262" "shop.example" "arn:cert" 0 2026-03-05T10:20:30.364000Z "forward,\\"a\\"" "-" "-" "10.0.0.1:80" "200"'
    ' "-" "-"'
)  # fmt: skip


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


HAPROXY = (
    "198.51.100.7:33317 [05/Mar/2026:10:20:30.655] http-in~ static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0"
    ' {shop.example|Mozilla/5.0 (X11; #7Bx#7D)|https://x.example/} {} "GET /p?x=1 HTTP/1.1"'
)


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


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("combined", [COMBINED.format(AGENT)]),
        ("common", ['198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET / HTTP/1.1" 304 -']),
        ("combined with virtual host", ["a.example:80 " + COMBINED.format(AGENT)]),
        ("nginx JSON", [json.dumps(NGINX)]),
        ("Caddy JSON", [caddy()]),
        ("Traefik JSON", [json.dumps(TRAEFIK)]),
        ("IIS (W3C extended)", [*IIS]),
        ("CloudFront (W3C extended)", [*CLOUDFRONT]),
        ("ALB", [ALB.format("198.51.100.7:2817")]),
        ("HAProxy", [HAPROXY]),
    ],
)
def test_the_format_is_found_among_lines_that_are_not_of_it(title: str, lines: list[str]) -> None:
    sample = [line.encode() for line in (*lines[:-1], "noise", lines[-1], lines[-1])]
    found = detect.detect(sample, UTC, False)
    assert found is not None
    assert (found.title, found.read, found.lines) == (title, 2, 3)
    assert detect.detect([b"noise", b"more of it"], UTC, False) is None


def test_local_times_in_the_hour_that_comes_twice() -> None:
    clock = LocalClock(ZoneInfo("Europe/Vienna"))
    texts = ["25/Oct/2026:01:59:00.000", "25/Oct/2026:02:30:00.000", "25/Oct/2026:02:59:00.000", "25/Oct/2026:02:10:00.000",
             "25/Oct/2026:02:58:00.000", "25/Oct/2026:03:10:00.000"]  # fmt: skip
    moments = [clock(text) for text in texts]
    assert [(each - moments[0]) // 60_000 for each in moments] == [0, 31, 60, 71, 119, 131]


_TIME = "[05/Mar/2026:10:20:30 +0000]"


@pytest.mark.parametrize(
    "line",
    [
        f'::1 - - {_TIME} "GET /' + " " * 60_000 + 'x" 200 1 "-" "x"',
        f'::1 - - {_TIME} "GET / HTTP/1.1" 200 1 "-" "x" "' + '\\"' * 30_000,
        f'::1 - - {_TIME} "' + '" 200 1' * 9_000,
        f'::1 - - {_TIME} "GET /' + "\\" * 60_001 + '" 200 1 "-" "x',
        ":" * 60_000,
        ":1 [" * 15_000,
        "1.2.3.4:5 [05/Mar/2026:10:20:30.655] a b/c 0 200 5 " + "{" * 60_000,
        '"' * 60_000,
        '"\\' * 30_000,
        "https 1 " + '" ' * 30_000,
        "::1 1772706030000 GET /" + "?" * 30_000 + " /" * 15_000,
        "::1 1772706030000 GET " + "/ " * 30_000,
        "1," * 30_000 + f' - - {_TIME} "GET / HTTP/1.1" 200 1',
        '{"a":' + "9" * 60_000 + "}",
        '{"remote_addr":"::1","request":"GET /","msec":' + "1" * 300 + "}",
    ],
)
def test_no_line_takes_long(line: str) -> None:
    logs = [formats.make(name, UTC, True) for name in dict.fromkeys(formats.BUILT_IN)]
    logs.append(formats.make("%h %{msec}t %m %U%q %s %{x}i", UTC, True))
    logs.append(formats.make("$host $remote_addr $msec $request $status $http_x_forwarded_for x", UTC, True))
    for log in logs:
        with contextlib.suppress(Malformed):
            log.parse(b"#Fields: date time c-ip cs-method cs-uri-stem")
    began = time.process_time()
    for log in logs:
        with contextlib.suppress(Malformed):
            log.parse(line.encode())
    assert time.process_time() - began < 2

"""Lines of access logs as their writers write them, and what reads them."""

# ruff: noqa: E501 - log lines are long

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

from deploy.replay import formats
from deploy.replay.entry import Entry

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


COMBINED = '198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "GET /a?b=1 HTTP/1.1" 200 512 "https://x.example/" "{}"'


NGINX = {
    "time_iso8601": "2026-03-05T11:20:30+01:00", "remote_addr": "2001:db8::1", "request_method": "GET",
    "request_uri": "/p?x=1", "status": "200", "host": "shop.example", "scheme": "https",
    "http_referer": "https://x.example/", "http_user_agent": AGENT, "http_dnt": "1", "http_accept_language": "de-AT",
}  # fmt: skip


def caddy(**changes: object) -> str:
    request = {
        "remote_ip": "10.0.0.9", "remote_port": "41342", "client_ip": "198.51.100.7", "proto": "HTTP/2.0",
        "method": "GET", "host": "shop.example:8443", "uri": "/p?x=1", "tls": {"version": 772},
        "headers": {"User-Agent": [AGENT], "Referer": ["https://x.example/"], "Sec-Gpc": ["1"], "Accept-Language": ["fr"]},
    }  # fmt: skip
    return json.dumps({"level": "info", "ts": 1772706030.25, "logger": "http.log.access", "request": request, "status": 200} | changes)  # fmt: skip


TRAEFIK = {
    "ClientAddr": "198.51.100.7:5511", "ClientHost": "198.51.100.7", "DownstreamStatus": 200, "OriginStatus": 200,
    "RequestHost": "shop.example", "RequestMethod": "GET", "RequestPath": "/p?x=1", "RequestScheme": "https",
    "StartUTC": "2026-03-05T10:20:30.123456789Z", "request_User-Agent": AGENT, "request_Referer": "https://x.example/",
}  # fmt: skip


IIS = (
    "#Software: Microsoft Internet Information Services 10.0",
    "#Date: 2026-03-05 10:00:00",
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port c-ip cs(User-Agent) cs(Referer) cs-host sc-status",
    "2026-03-05 10:20:30 10.0.0.1 GET /my+page/é x=1&y=2 443 198.51.100.7"
    " Mozilla/5.0+(compatible;+Googlebot/2.1;++http://www.google.com/bot.html) - shop.example 200",
)


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


ALB = (
    'h2 2026-03-05T10:20:31.186641Z app/my-lb/50dc6c495c0c9188 {} 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366'
    ' "GET https://shop.example:443/p?x=1 HTTP/2.0" "Mozilla/5.0 (\\"x\\")" ECDHE-RSA TLSv1.2 arn:aws:tg/73e2d6bc24d8a067'
    ' "Root=1-58337262" "shop.example" "arn:cert" 0 2026-03-05T10:20:30.364000Z "forward,\\"a\\"" "-" "-" "10.0.0.1:80" "200"'
    ' "-" "-"'
)  # fmt: skip


HAPROXY = (
    "198.51.100.7:33317 [05/Mar/2026:10:20:30.655] http-in~ static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0"
    ' {shop.example|Mozilla/5.0 (X11; #7Bx#7D)|https://x.example/} {} "GET /p?x=1 HTTP/1.1"'
)

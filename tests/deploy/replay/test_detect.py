"""A format is found by its lines, and no line takes long, whatever the format."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from deploy.replay import detect, formats
from deploy.replay.entry import Malformed
from tests.deploy.replay.lines import (
    AGENT,
    ALB,
    CLOUDFRONT,
    COMBINED,
    HAPROXY,
    IIS,
    NGINX,
    TRAEFIK,
    UTC,
    caddy,
)


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

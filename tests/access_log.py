"""Access logs in Apache's combined format as pageviews; a made-up one where no real one is at hand."""

from __future__ import annotations

import datetime
import gzip
import os
import random
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LINE = re.compile(
    r'(?P<ip>\S+) \S+ \S+ \[(?P<time>[^]]+)] "(?P<request>.*?)" \d+ \S+(?: "(?P<ref>.*?)" "(?P<ua>.*?)"?)?'
)

_AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6"
    " Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.10.1",
]  # fmt: skip


def lines(number: int = 10_000) -> list[str]:
    """Return the lines of the log that HITLINE_TEST_LOG names, else made-up ones."""
    path = os.environ.get("HITLINE_TEST_LOG")
    if path and Path(path).exists():
        with gzip.open(path, "rt", errors="replace") as log:
            return log.read().splitlines()
    return list(_made_up(number))


def _made_up(number: int) -> Iterator[str]:
    chance = random.Random(7)
    for index in range(number):
        address = (
            f"{chance.choice((31, 83, 93, 203))}.{chance.randrange(256)}.{chance.randrange(4)}.{chance.randrange(256)}"
        )
        time = datetime.datetime(2015, 5, 17, tzinfo=datetime.UTC) + datetime.timedelta(seconds=index * 30)
        path = f"/blog/{int(chance.paretovariate(1.2)) % 300}?utm_source=made%20up" if chance.random() < 0.7 else "/"
        yield (
            f'{address} - - [{time:%d/%b/%Y:%H:%M:%S +0000}] "GET {path} HTTP/1.1" 200 512'
            f' "http://www.google.com/search?q={index % 50}" "{chance.choice(_AGENTS)}"'
        )


def to_pageview(line: str) -> dict[str, Any]:
    """Return the pageview of a log line."""
    match = LINE.fullmatch(line)
    assert match is not None, "not in combined log format"
    target = [*match["request"].split(" "), "/"][1]
    return {
        "url": f"https://example.com{target}",
        "timestamp": datetime.datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").isoformat(),
        "visitor_ip": match["ip"],
        "user_agent": (match["ua"] or "-").strip() or "-",
        "referrer": "" if match["ref"] in ("-", None) else match["ref"],
        "page_id": str(uuid.uuid4()),
        "session_id": str(uuid.uuid4()),
    }

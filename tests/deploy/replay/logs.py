"""Made-up access logs, and an independent count of what is a page in them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from tests import access_log

_STATIC = (
    *(".png", ".css", ".js", ".ico", ".jpg", ".jpeg", ".gif", ".svg", ".ttf", ".woff", ".xsl", ".swf"),
    *(".txt", ".xml", ".pdf", ".zip", ".gz", ".jar", ".exe", ".deb", ".doc"),
)


def lines(number: int, seed: int = 7, host: str = "") -> list[str]:
    """Return combined lines: pages, static files, errors, other methods, a few malformed ones; each only once."""
    chance = random.Random(seed)
    return [f"{host}{line}" for line in _made(number, chance)]


def _made(number: int, chance: random.Random) -> Iterable[str]:
    moment = datetime(2026, 3, 5, 10, tzinfo=UTC)
    for index in range(number):
        moment += timedelta(seconds=chance.choice((0, 0, 1, 3)))
        if index % 97 == 5:
            yield f"{index} is no line of a log"
            continue
        method, status = chance.choices(
            (("GET", 200), ("GET", 304), ("POST", 200), ("GET", 404), ("HEAD", 200)), (12, 2, 1, 1, 1)
        )[0]
        path = chance.choice(("/", f"/p/{index}?utm_source=x", f"/style-{index}.css", f"/a/{index}", f"/i/{index}.png"))
        yield (
            f"203.0.113.{chance.randrange(200)} - - [{moment:%d/%b/%Y:%H:%M:%S +0000}]"
            f' "{method} {path} HTTP/1.1" {status} {index} "https://ref.example/"'
            f' "Mozilla/5.0 Firefox/{chance.randrange(99)}"'
        )


def pages(log: Iterable[str]) -> Counter[tuple[str, str]]:
    """Count pages by (path, second) in another way than Hitline does, for logs of `lines` and real ones."""
    found: Counter[tuple[str, str]] = Counter()
    for line in log:
        match = access_log.LINE.fullmatch(line)
        words = match["request"].split(" ") if match else []
        status = line.split('" ')[1].split()[0] if match else ""
        if len(words) != 3 or words[0] != "GET" or status not in ("200", "304"):
            continue
        path = words[1].split("?")[0].split("#")[0]
        if not path.lower().endswith(_STATIC) and match:
            moment = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
            found[path or "/", f"{moment:%Y-%m-%d %H:%M:%S}"] += 1
    return found

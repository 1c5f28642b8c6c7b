"""What a pageview costs a worker before it is sent: each step, the whole pipeline, columns, and their serialisation.

Run with `python -m tests.bench.steps [LOG.gz]`.  The stream is an access log in combined format where one is given,
else made up with as many visitors, paths and user agents as such a log has.  Processor time, best of several rounds.
"""

from __future__ import annotations

import gzip
import logging
import os
import platform
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any, Final

from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.insert import InsertContext
from clickhouse_connect.driver.transform import NativeTransform

from shared.pageview import QueuedPageview
from shared.process import settle_garbage_collector
from shared.registry import Exclusion
from tests.worker.factories import NOW_MS, SITE, FakeRegistry, made_settings, pageview, write_database
from worker.lookups.lookups import Lookups
from worker.pipeline import Row, Steps, build_steps, process
from worker.row import COLUMN_TYPES, COLUMNS, to_columns

ROWS: Final = 10_000
ROUNDS: Final = 5
RULES: Final = (1, 1_000, 100_000)
_LINE: Final = re.compile(r'(\S+) \S+ \S+ \[[^\]]+\] "\S+ (\S*)[^"]*" \S+ \S+ "(.*?)" "?(.*?)"?$')


def stream(log: Path | None, salt: int = 0) -> list[QueuedPageview]:
    """Return the pageviews to measure with; those that are made up have values of their own with each `salt`."""
    made = read_log(log) if log else make_up(salt)
    return [one._replace(session_id=os.urandom(16), page_id=os.urandom(16)) for one in made][:ROWS]


def read_log(log: Path) -> Iterator[QueuedPageview]:
    """Turn each line of an access log into a pageview."""
    with gzip.open(log, "rt") as lines:
        for found in map(_LINE.match, lines):
            if found:
                address, path, referrer, agent = found.groups()
                url = f"https://example.com{path}"
                yield pageview(
                    visitor_ip=address, url=url, referrer=referrer, user_agent=agent or "-", language="en-us"
                )


def make_up(salt: int) -> Iterator[QueuedPageview]:
    """Make pageviews up: 1,750 visitors, 1,500 paths, 560 user agents, 800 referrers, the first of each most often."""
    chance = random.Random(1)

    def one_of(number: int) -> int:
        return int(number * chance.random() ** 2)

    for _ in range(ROWS):
        agent = one_of(560)
        yield pageview(
            visitor_ip=str(ip_address(0x51020000 + salt * 2**16 + one_of(1_750) * 37)),
            url=f"https://example.com/articles/{one_of(1_500)}?page={salt}",
            user_agent=f"Mozilla/5.0 (X11; Linux x86_64; rv:{agent}.{salt}) Gecko/20100101 Firefox/{agent}.{salt}",
            referrer=f"https://host{one_of(800)}.example/path{salt}",
            language="en-us",
        )


def prepare_lookups(directory: Path, rules: int) -> Lookups:
    """Build lookups with `rules` of each kind of exclusion and spam, none of which matches the stream."""
    (directory / "geo").mkdir(parents=True)
    (directory / "feeds").mkdir()
    records = {f"{first}.0.0.0/8": {"country": {"iso_code": "ZZ"}} for first in (*range(11, 100), *range(128, 224))}
    write_database(directory / "geo" / "city.mmdb", records)
    networks = [f"10.{n >> 9 & 255}.{n >> 1 & 255}.{(n & 1) * 128}/{25 + n % 7}" for n in range(rules)]
    hosts = "\n".join(f"spam{n}.example" for n in range(rules))
    (directory / "feeds" / "list.txt").write_text("\n".join(networks) + "\n" + hosts)
    registry = FakeRegistry(rules=list(exclusions(networks)))
    registry.find_site = lru_cache(maxsize=50_000)(registry.find_site)  # as the real one does
    settings = made_settings(directory, retention_days=36_500)
    return Lookups(settings, registry)


def exclusions(networks: Sequence[str]) -> Iterator[Exclusion]:
    """Return as many rules of every kind, for the instance and for the site, as there are networks."""
    ids = (number.to_bytes(16, "big") for number in count())
    for site_id in (None, SITE.site_id):
        for number, network in enumerate(networks):
            yield Exclusion(next(ids), "cidr", network, site_id)
            yield Exclusion(next(ids), "user_agent", f"agent {number} of none", site_id)
            yield Exclusion(next(ids), "path", f"/section/{number}", site_id)


def best(work: Callable[[], Any], rows: int) -> float:
    """Return the microseconds of processor time that one of `rows` takes."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times) / rows * 1e6


def fresh(pageviews: Sequence[QueuedPageview]) -> list[QueuedPageview]:
    """Return copies whose strings are new, as they come out of a message: their hashes are not known yet."""
    return [
        QueuedPageview._make(one.encode().decode() if isinstance(one, str) else one for one in p) for p in pageviews
    ]


def _apply(step: Callable[..., Any], given: Sequence[tuple[Any, ...]]) -> None:
    for one in given:
        step(*one)


def measure(steps: Steps, pageviews: Sequence[QueuedPageview]) -> dict[str, float]:
    """Return the microseconds a row of each step, of all, and of what follows them."""
    began = time.process_time()
    made = [(p, process(p, steps)) for p in fresh(pageviews)]
    found = {"pipeline, caches empty": (time.process_time() - began) / len(pageviews) * 1e6}
    stored = [(p, row) for p, row in made if isinstance(row, Row)]
    rows = [row for _, row in stored]
    arguments: dict[str, Callable[[QueuedPageview, Row], tuple[Any, ...]]] = {
        "put_site": lambda p, row: (p,),
        "drop_too_old": lambda p, row: (p, row.site),
        "drop_dnt": lambda p, row: (p, row.site),
        "put_page": lambda p, row: (p, row.site),
        "put_referrer": lambda p, row: (p, row.site),
        "put_visitor": lambda p, row: (p, row.site),
        "drop_excluded": lambda p, row: (p, row.site, row.location, row.page),
        "drop_spam_network": lambda p, row: (p, row.site),
        "drop_spam_referrer": lambda p, row: (row.referrer, row.site),
        "put_source": lambda p, row: (p, row.site, row.referrer, row.page),
    }
    for name, step in steps._asdict().items():
        given = [arguments.get(name, lambda p, row: (p,))(*each) for each in stored]
        found[name] = best(partial(_apply, step, given), len(given))
    sets = iter([fresh(pageviews) for _ in range(ROUNDS)])
    found["pipeline, caches full"] = best(lambda: [process(p, steps) for p in next(sets)], len(pageviews))
    positioned_rows = [(row, b"b" * 16, position) for position, row in enumerate(rows)]
    found["columns"] = best(lambda: to_columns(positioned_rows), len(rows))
    found["serialisation"] = best(lambda: serialise(to_columns(positioned_rows)), len(rows)) - found["columns"]
    found["all of it, caches full"] = found["pipeline, caches full"] + found["columns"] + found["serialisation"]
    return found


def serialise(columns: Sequence[Sequence[Any]]) -> int:
    """Do what clickhouse-connect does with columns; returns the bytes that it would send."""
    types = [get_from_name(name) for name in COLUMN_TYPES]
    context = InsertContext("pageviews_raw", COLUMNS, types, columns, column_oriented=True)
    size = sum(map(len, NativeTransform().build_insert(context)))
    if context.insert_exception:
        raise context.insert_exception
    return size


def main(log: Path | None = None, numbers_of_rules: Sequence[int] = RULES) -> None:
    """Print the table, for an access log or what is made up."""
    logging.disable(logging.WARNING)
    pageviews = stream(log)
    found: dict[int, dict[str, float]] = {}
    for rules in numbers_of_rules:
        with tempfile.TemporaryDirectory() as directory:
            began = time.process_time()
            lookups = prepare_lookups(Path(directory) / "state", rules)
            loaded_s = time.process_time() - began
            settle_garbage_collector()  # as the worker does once it has started
            found[rules] = measure(build_steps(lookups, lambda: NOW_MS), pageviews)
            found[rules]["loading everything, seconds"] = loaded_s
    print(
        f"{len(pageviews):,} pageviews of {log.name if log else 'a made-up stream'}, Python {platform.python_version()}"
    )
    print(f"{'µs a pageview, rules of each kind:':36}" + "".join(f"{rules:>10,}" for rules in found))
    for name in found[numbers_of_rules[0]]:
        print(f"{name:36}" + "".join(f"{of_rules[name]:>10.2f}" for of_rules in found.values()))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)

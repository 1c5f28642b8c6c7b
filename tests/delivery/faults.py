"""What the delivery proofs share: posting with a ledger, comparing it with ClickHouse, and placing faults exactly."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson

from tests import http, parts, services
from tests.delivery.relay import Relay
from tests.http import BATCH_ENDPOINT
from tests.services import Service, System

ACCEPT_S = 120.0


@dataclass
class Ledger:
    """Page ids by their answer: accepted (202), and those whose fate an answer left open."""

    accepted: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def not_202(self) -> dict[int, int]:
        return {status: count for status, count in self.statuses.items() if status != 202}


def make_pageviews(count: int, when: Callable[[int], datetime] | None = None) -> list[dict[str, Any]]:
    """Return distinct pageviews; `when` gives the time of the n-th, else it is now."""
    now = datetime.now(UTC)
    return [
        services.pageview(
            **services.ids(),
            url=f"https://example.com/page/{number % 100}",
            timestamp=(when(number) if when else now + timedelta(milliseconds=number % 60_000)).isoformat(),
        )
        for number in range(count)
    ]


async def post_batches(
    system: System, pageviews: Iterable[dict[str, Any]], ledger: Ledger, *, size: int = 500, per_second: float = 0
) -> None:
    """Post everything in batches, one after the other, repeating what was certainly not taken until it is.

    `per_second` holds the rate down to that many pageviews.  What has an unknown fate is noted and not repeated.
    """
    rest = list(pageviews)
    headers = {"Authorization": f"Bearer {system.token}", "Content-Type": "application/x-ndjson"}
    began, posted = time.monotonic(), 0
    async with aiohttp.ClientSession(f"http://127.0.0.1:{system.port}", headers=headers) as session:
        while rest:
            batch, rest = rest[:size], rest[size:]
            again = await _post(session, batch, ledger)
            posted += len(batch) - len(again)
            rest = again + rest
            if again:
                await asyncio.sleep(0.2)
            elif per_second and (early := began + posted / per_second - time.monotonic()) > 0:
                await asyncio.sleep(early)


async def stream(system: System, ledger: Ledger, until: asyncio.Event, at_least: int, per_second: float) -> None:
    """Post pageviews at a steady rate until the event, and until so many are accepted."""
    while not until.is_set() or len(ledger.accepted) < at_least:
        await post_batches(system, make_pageviews(max(100, int(per_second))), ledger, size=100, per_second=per_second)


async def _post(session: aiohttp.ClientSession, batch: list[dict[str, Any]], ledger: Ledger) -> list[dict[str, Any]]:
    """Post one batch, note the answers, and return what was certainly not taken."""
    body = b"\n".join(map(orjson.dumps, batch))
    try:
        # Every error: those that are left out of a short answer would count as accepted.
        async with session.post(f"{BATCH_ENDPOINT}?errors=all", data=body) as answer:
            status, answered = answer.status, await answer.json()
    except aiohttp.ClientConnectorError:  # nothing listens: nothing was sent
        return batch
    except (aiohttp.ClientError, OSError, TimeoutError):
        ledger.statuses[0] += 1
        ledger.unknown.update(each["page_id"] for each in batch)
        return []
    ledger.statuses[status] += 1
    errors = {each["index"]: each["message"] for each in answered.get("errors", [])}
    if status != 202 and not errors:
        errors = dict.fromkeys(range(len(batch)), answered["message"])
    ledger.accepted.update(each["page_id"] for index, each in enumerate(batch) if index not in errors)
    ledger.unknown.update(batch[index]["page_id"] for index, text in errors.items() if text.startswith("unknown"))
    return [batch[index] for index, text in errors.items() if not text.startswith("unknown")]


def stored_ids(system: System) -> set[str]:
    return set(parts.execute(system.clickhouse, "SELECT page_id FROM hitline.pageviews FORMAT TSV").split())


def doubled(system: System) -> int:
    """Return how many rows the stored table has beyond one a pageview; meant for a table that does not merge."""
    sql = "SELECT count() - uniqExact(site_id, timestamp, session_id, page_id) FROM hitline.pageviews_raw"
    return int(parts.execute(system.clickhouse, sql))


@contextlib.contextmanager
def no_merges(system: System) -> Iterator[None]:
    """Keep every inserted part as it is, so that a doubled row can be seen."""
    execute = functools.partial(parts.execute, system.clickhouse)
    table = "hitline.pageviews_raw"
    execute(f"ALTER TABLE {table} MODIFY SETTING parts_to_delay_insert=100000, parts_to_throw_insert=100000")
    execute(f"SYSTEM STOP MERGES {table}")
    try:
        yield
    finally:
        execute(f"SYSTEM START MERGES {table}")
        execute(f"ALTER TABLE {table} RESET SETTING parts_to_delay_insert, parts_to_throw_insert")


async def settled(system: System, ledger: Ledger, timeout_s: float = ACCEPT_S) -> dict[str, int]:
    """Wait until outcomes count everything that was accepted and the queue is empty; returns the outcomes."""

    def done() -> bool:
        return (
            sum(system.outcomes().values()) >= len(ledger.accepted)
            and parts.run_apart(lambda: parts.depth(system.broker.amqp_url, "hitline.pageviews")) == 0
        )

    await asyncio.to_thread(services.wait_for, done, timeout_s)
    await asyncio.sleep(0.5)
    return system.outcomes()


async def assert_exact(system: System, ledger: Ledger, timeout_s: float = ACCEPT_S) -> None:
    """Every accepted page id is stored, nothing is that was not posted, each once, and outcomes say the same."""
    outcomes = await settled(system, ledger, timeout_s)
    stored = stored_ids(system)
    assert not ledger.accepted - stored, f"{len(ledger.accepted - stored)} lost"
    assert stored <= ledger.accepted | ledger.unknown
    assert services.count(system.clickhouse) == len(stored), "the view has a pageview twice"
    assert len(stored) <= outcomes.get("stored", 0) <= len(ledger.accepted) + len(ledger.unknown)
    if not ledger.unknown:
        assert outcomes == {"stored": len(ledger.accepted)}
    print(
        f"  accepted {len(ledger.accepted)}, unknown fate {len(ledger.unknown)}, answers but 202 {ledger.not_202},"
        f" stored {len(stored)}, outcomes {outcomes}, doubled before any merge {doubled(system)}"
    )


@contextlib.contextmanager
def slow_inserts(system: System, seconds: float) -> Iterator[None]:
    """Make every insert into the stored table take this long on the server, by materialized views that sleep."""
    execute = functools.partial(parts.execute, system.clickhouse)
    execute("CREATE TABLE IF NOT EXISTS hitline.slow (x UInt8) ENGINE = Null")
    naps = [2.5] * int(seconds // 2.5) + [seconds % 2.5]  # the server allows 3 s a block and function
    for number, nap in enumerate(naps):
        execute(
            f"CREATE MATERIALIZED VIEW hitline.slow_{number} TO hitline.slow AS"
            f" SELECT sleepEachRow(0) + sleep({nap}) AS x FROM hitline.pageviews_raw"
        )
    try:
        yield
    finally:
        for number in range(len(naps)):
            execute(f"DROP VIEW hitline.slow_{number}")


def running_inserts(system: System) -> list[str]:
    """Return the query ids of the workers' inserts that the server is at work on."""
    sql = "SELECT query_id FROM system.processes WHERE startsWith(query_id, 'hitline-insert-') FORMAT TSV"
    with contextlib.suppress(OSError):  # a busy server says so; the next look will tell
        return parts.execute(system.clickhouse, sql).split()
    return []


def metric(worker: Service, name: str, labels: str = "") -> float:
    """Return the value of one of a worker's metrics; 0 while it has none."""
    text = http.request(worker.admin_port, "GET", "/metrics").body.decode()
    found = re.search(rf"^{re.escape(name + labels)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


class Gate(Relay):
    """A relay in front of a part, which can be shut: what clients send then waits in it; answers come through."""

    def shut(self) -> None:
        self.requests.clear()

    def open(self) -> None:
        self.requests.set()

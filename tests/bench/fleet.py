"""What many workers cost ClickHouse at a low rate, and how soon a pageview is stored: one, nine and fifty of them."""

from __future__ import annotations

import os
import sys
import time

from tests import parts, services
from tests.bench import gateway_speed, requests
from tests.bench.cpu import cpu_s
from tests.bench.table import Table
from tests.services import Service, System

RATE = 200
SECONDS = float(os.environ.get("FLEET_SECONDS", "30"))
#: Workers, what they may cost of one, and how many seconds after its receipt a pageview is stored (p99).
FLEETS = ((1, 1.0, 1.5), (4, 2.0, 1.5), (9, 2.0, 2.5), (50, 4.0, 5.0))


def run(system: System, table: Table) -> None:
    """Post single pageviews at 200/s to each fleet in turn, and add their rows."""
    token = services.add_client(system.env, "steady", "example.com", rate="1000000000/second")
    services.wait_for(lambda: system.post(token=token).status == 202)
    alone = 0.0
    for workers, most, fresh_s in FLEETS:
        cost, inserts, p99_s, lone_s = measure(system, token, workers)
        alone = alone or cost
        table.note(
            f"{workers} workers, {RATE} pageviews/s: ClickHouse's CPU s a pageview, inserts",
            f"{cost * 1000:.2f} ms, {inserts}",
        )
        table.ratio(f"{workers} workers: ClickHouse's CPU, of one", cost / alone, most, at_most=True)
        table.ratio(f"{workers} workers: stored after the receipt, p99 in seconds", p99_s, fresh_s, at_most=True)
        table.ratio(f"{workers} workers: a pageview alone, in seconds", lone_s, fresh_s, at_most=True)


def measure(system: System, token: str, workers: int) -> tuple[float, int, float, float]:
    """Return CPU seconds a pageview, inserts into both tables, p99 in seconds, and a lone pageview's seconds."""
    command = [sys.executable, "-m", "tests.bench.stand_ins", str(workers)]
    fleet = Service(f"fleet of {workers}", system.env, system.logs / f"fleet-{workers}.log", command).start()
    try:
        # Not counted in the log, which says the same line only a few times a second.
        services.wait_for(
            lambda: parts.run_apart(lambda: parts.consumers(system.env["HITLINE_AMQP_URL"])) == workers, 120
        )
        time.sleep(7)  # every worker has looked at the queue
        parts.empty_tables_of_pageviews(system.clickhouse)
        system.post(token=token, **services.ids())
        services.wait_for(lambda: services.count(system.clickhouse, "pageviews_raw") >= 1, 60)
        lone_s = seconds_until_stored(system, 1.0)
        before = cpu_s(system.clickhouse.pid)
        prepared = requests.single(token, int(RATE * (SECONDS + 2)))
        result = gateway_speed.load(system.port, 16, prepared, RATE, SECONDS)
        total = sum(result["statuses"].values())
        services.wait_for(lambda: services.count(system.clickhouse, "pageviews_raw") > total, 60)
        cost = (cpu_s(system.clickhouse.pid) - before) / total
    finally:
        fleet.end()
    return cost, inserts_of(system), seconds_until_stored(system, 0.99), lone_s


def seconds_until_stored(system: System, level: float) -> float:
    """Return a quantile of the seconds from receipt to storage."""
    sql = f"quantileExact({level})(toUnixTimestamp64Milli(stored_at) - toUnixTimestamp64Milli(received_at))"
    return float(parts.execute(system.clickhouse, f"SELECT {sql} FROM hitline.pageviews_raw")) / 1000


def inserts_of(system: System) -> int:
    """Return how many inserts of pageviews there were: all rows of one have the same time."""
    return int(parts.execute(system.clickhouse, "SELECT uniqExact(stored_at) FROM hitline.pageviews_raw"))

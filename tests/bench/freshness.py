"""How long after its 202 a pageview is stored, at a steady rate."""

from __future__ import annotations

from tests import parts, services
from tests.bench import gateway_speed, requests
from tests.bench.table import Table
from tests.services import System

RATE = 5_000
SECONDS = 15.0


def run(system: System, table: Table) -> None:
    """Post at 5,000/s through gateway and worker and add the row."""
    token = services.add_client(system.env, "steady", "example.com", rate="1000000000/second")
    services.wait_for(lambda: system.post(token=token).status == 202)
    parts.empty_tables_of_pageviews(system.clickhouse)
    worker = system.add_worker(flush_seconds="0.5")
    services.wait_for(lambda: "broker: connected" in worker.text())
    prepared = requests.single(token, int(RATE * (SECONDS + 2)))  # each once: what is repeated would merge
    result = gateway_speed.load(system.port, 128, prepared, RATE, SECONDS)
    total = sum(result["statuses"].values())
    services.wait_for(lambda: services.count(system.clickhouse, "pageviews_raw") >= total, 60)
    worker.stop()
    table.note("posted at a steady rate", f"{result['per_second']:,.0f}/s, 202 after p99 {result['p99_ms']:.1f} ms")
    sql = "SELECT quantileExact(0.99)(toUnixTimestamp64Milli(stored_at) - toUnixTimestamp64Milli(received_at)) AS p99"
    row = services.rows(system.clickhouse, f"{sql} FROM hitline.pageviews_raw")[0]
    table.ratio("stored after it was received, p99 in seconds", float(row["p99"]) / 1000, 1.5, at_most=True)

"""How long after its 202 a pageview is stored, at a steady rate of 30 % of the limit."""

from __future__ import annotations

import time
from typing import Final

from tests import parts, services
from tests.bench import gateway_speed, metrics, requests
from tests.bench.sizes import Sizes
from tests.bench.table import Table
from tests.services import Service, System

PART_OF_LIMIT: Final = 0.3
#: More than this are not prepared, however fast the machine is.
_MOST_PER_SECOND: Final = 5_000
_PERCENTILE: Final = (
    "SELECT quantileExact(0.99)(toUnixTimestamp64Milli(stored_at) - toUnixTimestamp64Milli(received_at)) AS p99"
    " FROM hitline.pageviews_raw"
)


def run(system: System, table: Table, sizes: Sizes) -> None:
    """Measure the limit of gateway and worker together, post at a part of it, and add the rows."""
    token = services.add_client(system.env, "steady", "example.com", rate="1000000000/second")
    services.wait_for(lambda: system.post(token=token).status == 202)
    worker = system.add_worker(flush_seconds="0.5")
    services.wait_for(lambda: "broker: connected" in worker.text())
    limit = measure_limit(system, worker, requests.single(token, sizes.requests), sizes.seconds)
    rate = min(_MOST_PER_SECOND, PART_OF_LIMIT * limit)
    table.figure("limit of single posts, received and stored", [limit])
    # Each once: what is repeated would merge.
    prepared = requests.single(token, int(rate * (sizes.steady_seconds + 2)) + 1)
    p99_s, answered = [], []
    for round_number in range(sizes.rounds):
        table.progress(f"round {round_number + 1}: {rate:,.0f}/s")
        parts.empty_tables_of_pageviews(system.clickhouse)
        before = metrics.total(worker, "hitline_outcomes_total")
        result = gateway_speed.load(system.port, 128, prepared, rate, sizes.steady_seconds)
        total = before + sum(result["statuses"].values())
        services.wait_for(lambda expected=total: metrics.total(worker, "hitline_outcomes_total") >= expected, 60)
        answered.append(result["p99_ms"])
        p99_s.append(float(services.rows(system.clickhouse, _PERCENTILE)[0]["p99"]) / 1000)
    worker.stop()
    table.figure(f"202 after, p99 at {rate:,.0f}/s", answered, "{:.1f} ms")
    table.ratio(f"stored after it was received, p99 at {rate:,.0f}/s", p99_s, 1.5, at_most=True, form="{:.2f} s")


def measure_limit(system: System, worker: Service, prepared: list[bytes], seconds: float) -> float:
    """Return how many single posts a second are received and stored, with as many under way as help."""
    began, before = time.monotonic(), metrics.total(worker, "hitline_outcomes_total")
    gateway_speed.load(system.port, 64, prepared, seconds=seconds)
    services.wait_for(lambda: drained(system), 120)
    return (metrics.total(worker, "hitline_outcomes_total") - before) / (time.monotonic() - began)


def drained(system: System) -> bool:
    """Return whether everything that the gateway has accepted has an outcome."""
    counted = sum(metrics.total(worker, "hitline_outcomes_total") for worker in system.workers if worker.running)
    return counted >= metrics.total(system.gateway, "hitline_accepted_pageviews_total")

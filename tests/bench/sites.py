"""What a pageview costs with one site and with a million, and what memory the registry takes.

The million are visited as unevenly as sites are (Zipf's law: the n-th most visited gets 1/n of what the first gets), so
that caches hold those that matter and a good part of the look-ups read the registry's file.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tests import http, parts, services
from tests.bench import gateway_speed, requests, worker_speed
from tests.bench.table import Table
from tests.services import Service, System

SITES: Final = 1_000_000
#: Pageviews that differ, and so hostnames that are drawn.
HOSTNAMES: Final = 100_000
ITEMS: Final = 500
DRAINED: Final = 300_000
ROUNDS: Final = 3
_INSERT: Final = (
    "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at)"
    " SELECT generateUUIDv4(), name, [name], now64(6) FROM"
    " (SELECT concat('site', toString(number), '.example') AS name FROM numbers(1, {number}))"
)


class Figures(NamedTuple):
    """What was measured with some number of sites."""

    single: float
    batch: float
    worker: float
    gateway_mib: float
    worker_mib: float


def run(system: System, table: Table) -> None:
    """Measure with one site and with a million, and add the rows."""
    system.gateway.stop()
    token = services.add_client(system.env, "everywhere", "*", rate="1000000000/second")
    chance = random.Random(2)
    one = measure(system, token, lambda: "example.com")
    began = time.perf_counter()
    parts.execute(system.clickhouse, _INSERT.format(number=SITES))
    table.note(f"{SITES:,} sites added to ClickHouse", f"{time.perf_counter() - began:.1f} s")
    many = measure(system, token, lambda: f"site{int(SITES ** chance.random())}.example")
    for what, before, now in (
        ("single endpoint at 256 connections", one.single, many.single),
        ("batch endpoint, pageviews", one.batch, many.batch),
        ("worker", one.worker, many.worker),
    ):
        table.note(f"{what}, one site and {SITES:,}", f"{before:,.0f}/s, {now:,.0f}/s")
        table.note(f"{what}, more time a pageview with {SITES:,}", f"{1e6 / now - 1e6 / before:+.1f} µs")
    table.ratio(f"gateway, resident MiB with {SITES:,} sites", many.gateway_mib, 450, at_most=True, form="{:.0f}")
    table.ratio(f"worker, resident MiB with {SITES:,} sites", many.worker_mib, 500, at_most=True, form="{:.0f}")


def measure(system: System, token: str, hostname: Callable[[], str]) -> Figures:
    """Measure gateway and worker with pageviews of the hostnames that `hostname` gives."""
    hostnames = [hostname() for _ in range(HOSTNAMES)]
    version = int(parts.execute(system.clickhouse, "SELECT max(version) FROM hitline_control.sites"))
    with services.service("gateway", {**system.env, "HITLINE_HTTP_PORT": "0"}, system.logs / "sites.log") as gateway:
        wait_for_registry(gateway, version)
        pageviews = [
            json.dumps({**each, "url": f"https://{name}/page"}).encode()
            for each, name in zip(requests.pageviews(HOSTNAMES), hostnames, strict=True)
        ]
        single = [requests.http_request(http.ENDPOINT, each, token) for each in pageviews]
        batches = [
            requests.http_request(http.BATCH_ENDPOINT, b"\n".join(pageviews[at : at + ITEMS]), token)
            for at in range(0, HOSTNAMES, ITEMS)
        ]
        singles = max(gateway_speed.load(gateway.port, 256, single)["per_second"] for _ in range(ROUNDS))
        many = max(gateway_speed.load(gateway.port, 16, batches)["per_second"] for _ in range(ROUNDS)) * ITEMS
        gateway_mib = gateway.resident_mib()
    parts.run_apart(lambda: parts.empty_queues(system.broker.amqp_url))
    drained, worker_mib = drain(system, hostnames, version)
    return Figures(singles, many, drained, gateway_mib, worker_mib)


def drain(system: System, hostnames: list[str], version: int) -> tuple[float, float]:
    """Return a worker's rows a second with a full queue of pageviews of these hostnames, and its memory."""
    made = worker_speed.make_queued(DRAINED, system)
    queued = [each._replace(hostname=hostnames[index % len(hostnames)]) for index, each in enumerate(made)]
    parts.empty_tables_of_pageviews(system.clickhouse)
    env = {**system.env, "HITLINE_FLUSH_ROWS": str(worker_speed.ROWS)}
    with services.service("worker", env, Path(system.logs / "sites-worker.log")) as worker:
        wait_for_registry(worker, version)
        # The registry is at hand before there is anything to do.
        worker.stop()
    parts.run_apart(lambda: worker_speed.fill(system, queued))
    with services.service("worker", env, Path(system.logs / "sites-worker.log")) as worker:
        drained = worker_speed.drained_per_second(system, DRAINED)
        return drained, worker.resident_mib()


def wait_for_registry(service: Service, version: int) -> None:
    def caught_up() -> bool:
        text = http.request(service.admin_port, "GET", "/metrics").body.decode()
        line = next(line for line in text.splitlines() if line.startswith("hitline_registry_version "))
        return float(line.split()[1]) >= version

    services.wait_for(caught_up, 120)

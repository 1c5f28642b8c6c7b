"""What a pageview costs with one site and with a million, and what memory the registry takes.

The million are visited as unevenly as sites are (Zipf's law: the n-th most visited gets 1/n of what the first gets), so
that caches hold those that matter and a good part of the look-ups read the registry's file.  Both run side by side,
each with a ClickHouse of its own, and take turns; what counts is processor time.
"""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import http, parts, services
from tests.bench import metrics, requests, worker_speed
from tests.bench.cpu import of_tree
from tests.bench.gateway_speed import ITEMS, load
from tests.bench.sizes import Sizes
from tests.bench.table import Table, ratios
from tests.services import Service, System

_INSERT: Final = (
    "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at)"
    " SELECT generateUUIDv4(), name, [name], now64(6) FROM"
    " (SELECT concat('site', toString(number), '.example') AS name FROM numbers(1, {number}))"
)
_CHANCE: Final = random.Random(2)


def run(system: System, table: Table, sizes: Sizes) -> None:
    """Measure with one site and with many, and add the rows."""
    directory = Path(system.logs.parent) / "many"
    with ClickHouseProcess(directory / "clickhouse") as clickhouse:
        parts.run_apart(lambda: parts.apply_schema(clickhouse.url))
        with services.system(clickhouse, system.broker, directory, workers=0) as other:
            began = time.perf_counter()
            parts.execute(clickhouse, _INSERT.format(number=sizes.sites))
            table.note(f"{sizes.sites:,} sites added to ClickHouse", f"{time.perf_counter() - began:.1f} s")
            one = Side(system, lambda: "example.com", sizes)
            many = Side(other, lambda: f"site{int(sizes.sites ** _CHANCE.random())}.example", sizes)
            for round_number in range(sizes.rounds):
                for side, name in ((one, "one site"), (many, f"{sizes.sites:,}")):
                    table.progress(f"round {round_number + 1}: {name}")
                    side.measure(sizes)
            report(one, many, table, sizes)
            many.system.gateway.stop()


class Side:
    """One of the two that are compared: its gateway and worker, what they are sent, and what that cost."""

    def __init__(self, system: System, hostname: Callable[[], str], sizes: Sizes) -> None:
        self.system = system
        self.cost: dict[str, list[float]] = defaultdict(list)
        self.mib: dict[str, float] = {}
        self._hostnames = [hostname() for _ in range(sizes.hostnames)]
        self._version = int(parts.execute(system.clickhouse, "SELECT max(version) FROM hitline_control.sites"))
        token = services.add_client(system.env, "everywhere", "*", rate="1000000000/second")
        self._single, self._batches = self._requests(token, sizes)

    def _requests(self, token: str, sizes: Sizes) -> tuple[list[bytes], list[bytes]]:
        # As many different URLs with one site as with many.
        pages = [int(sizes.sites ** _CHANCE.random()) for _ in self._hostnames]
        pageviews = [
            json.dumps({**each, "url": f"https://{name}/page-{page}"}).encode()
            for each, name, page in zip(requests.pageviews(len(self._hostnames)), self._hostnames, pages, strict=True)
        ]
        batches = [pageviews[at : at + ITEMS] for at in range(0, len(pageviews), ITEMS)]
        return (
            [requests.http_request(http.ENDPOINT, each, token) for each in pageviews],
            [requests.http_request(http.BATCH_ENDPOINT, b"\n".join(each), token) for each in batches],
        )

    def measure(self, sizes: Sizes) -> None:
        """Measure one round of each."""
        gateway = self.system.gateway
        wait_for_registry(gateway, self._version)
        for kind, connections, prepared in (("single", 64, self._single), ("batches", 16, self._batches)):
            load(gateway.port, connections, prepared, seconds=0.2)
            used, before = of_tree(gateway.pid), metrics.total(gateway, "hitline_accepted_pageviews_total")
            load(gateway.port, connections, prepared, seconds=sizes.seconds)
            accepted = metrics.total(gateway, "hitline_accepted_pageviews_total") - before
            self.cost[kind].append((of_tree(gateway.pid) - used) / accepted * 1e6)
        self.mib["gateway"] = gateway.resident_mib()
        parts.run_apart(lambda: parts.empty_queues(self.system.broker.amqp_url))
        self._drain(sizes)

    def _drain(self, sizes: Sizes) -> None:
        """Measure a worker's CPU time for a full queue of pageviews of these hostnames, and its memory.

        It has drained one before: a worker that has just started looks each site up once.
        """
        system, names = self.system, self._hostnames
        made = worker_speed.make_queued(sizes.rows)
        queued = [each._replace(hostname=names[index % len(names)]) for index, each in enumerate(made)]
        parts.empty_tables_of_pageviews(system.clickhouse)
        worker = system.add_worker(flush_rows=str(sizes.flush_rows), flush_seconds="0.5")
        wait_for_registry(worker, self._version)
        for drained in (len(queued), 2 * len(queued)):
            used = of_tree(worker.pid)
            parts.run_apart(lambda: worker_speed.fill(system, queued))
            services.wait_for(lambda: metrics.total(worker, "hitline_outcomes_total") >= drained, 300)  # noqa: B023
        self.cost["worker"].append((of_tree(worker.pid) - used) / len(queued) * 1e6)
        self.mib["worker"] = worker.resident_mib()
        worker.stop()


def report(one: Side, many: Side, table: Table, sizes: Sizes) -> None:
    """Add the rows."""
    what = {"single": ("gateway, single", 1.1), "batches": ("gateway, batches", 1.1), "worker": ("worker", 1.25)}
    for kind, (name, _) in what.items():
        table.figure(f"{name}: CPU s a million pageviews, one site", one.cost[kind], "{:.1f}")
        table.figure(f"{name}: CPU s a million pageviews, {sizes.sites:,} sites", many.cost[kind], "{:.1f}")
    for kind, (name, reach) in what.items():
        each = ratios(many.cost[kind], one.cost[kind])
        table.ratio(f"{name}: cost a pageview with {sizes.sites:,} sites, of one", each, reach, at_most=True)
    for part, reach in (("gateway", 450), ("worker", 500)):
        table.ratio(f"{part}, {sizes.sites:,} sites", many.mib[part], reach, at_most=True, form="{:.0f} MiB")


def wait_for_registry(service: Service, version: int) -> None:
    """Wait until a process has the registry of that version."""

    def caught_up() -> Any:
        return metrics.total(service, "hitline_registry_version") >= version

    services.wait_for(caught_up, 180)

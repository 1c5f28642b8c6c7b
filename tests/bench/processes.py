"""What a pageview costs with several gateways on one port and several workers on the queue, of what it costs with one.

Processes on one host share nothing but the port (SO_REUSEPORT), so with as many cores they take as many times as much;
what can be shown on few cores is that none costs more for the others.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from deploy.local.ports import free_port
from tests import http, parts, services
from tests.bench import metrics, requests
from tests.bench.cpu import Meter
from tests.bench.gateway_speed import load
from tests.bench.sizes import Sizes
from tests.bench.table import Table, ratios
from tests.services import Service, System

MANY: Final = 3
#: Of each gateway.
_CONNECTIONS: Final = 64
#: More than one would cost for each message of its own group, and what clocks and caches differ by.
_REACH: Final = 1.15


def run(system: System, table: Table, sizes: Sizes) -> None:
    """Measure one of each and several in turns, and add the rows."""
    system.gateway.stop()
    token = services.add_client(system.env, "processes", "example.com", rate="1000000000/second")
    single = requests.single(token, sizes.requests)
    cost: dict[tuple[str, int], list[float]] = {(kind, n): [] for kind in ("gateway", "worker") for n in (1, MANY)}
    for round_number in range(sizes.rounds):
        for number in (1, MANY):
            table.progress(f"round {round_number + 1}: {number} of each")
            for kind, seconds in measure(system, number, single, sizes.seconds).items():
                cost[kind, number].append(seconds)
    for kind in ("gateway", "worker"):
        for number in (1, MANY):
            table.figure(f"{kind}, {number} on one host: CPU s a million pageviews", cost[kind, number], "{:.1f}")
    for kind in ("gateway", "worker"):
        more = ratios(cost[kind, MANY], cost[kind, 1])
        table.ratio(f"{kind}, CPU a pageview with {MANY} processes, of one", more, _REACH, at_most=True)


def measure(system: System, number: int, prepared: list[bytes], seconds: float) -> dict[str, float]:
    """Return the CPU seconds a million pageviews of all gateways, and of all workers, when there are so many."""
    with ExitStack() as stack:
        gateways, workers = start(system, number, stack)
        parts.empty_tables_of_pageviews(system.clickhouse)
        port = gateways[0].port
        load(port, _CONNECTIONS, prepared[:200], seconds=1)
        services.wait_for(lambda: done(gateways, workers), 120)
        before = total(gateways, "hitline_accepted_pageviews_total")
        processes = {f"{service.name} {at}": service.pid for at, service in enumerate(gateways + workers)}
        meter = Meter(processes)
        load(port, _CONNECTIONS * number, prepared, seconds=seconds)  # groups as large as with one
        services.wait_for(lambda: done(gateways, workers), 120)
        accepted = total(gateways, "hitline_accepted_pageviews_total") - before
        used = meter.seconds()
        assert all(metrics.total(each, "hitline_accepted_pageviews_total") for each in gateways), "one was left out"
        return {
            kind: sum(spent for name, spent in used.items() if name.startswith(kind)) / accepted * 1e6
            for kind in ("gateway", "worker")
        }


def start(system: System, number: int, stack: ExitStack) -> tuple[list[Service], list[Service]]:
    """Start so many gateways on one port, and so many workers."""
    env = {**system.env, "HITLINE_HTTP_PORT": str(free_port()), "HITLINE_FLUSH_SECONDS": "0.5"}
    found = {
        kind: [Service(kind, env, system.logs / f"{kind}-{number}-{at}.log") for at in range(number)]
        for kind in ("gateway", "worker")
    }
    for service in (*found["gateway"], *found["worker"]):
        stack.callback(service.end)
        service.start()
        services.wait_for(lambda service=service: http.ready(service.admin_port))
    return found["gateway"], found["worker"]


def total(processes: list[Service], name: str) -> float:
    """Return the sum of a metric over processes."""
    return sum(metrics.total(each, name) for each in processes)


def done(gateways: list[Service], workers: list[Service]) -> bool:
    """Return whether the workers have counted everything that the gateways have accepted."""
    accepted = total(gateways, "hitline_accepted_pageviews_total")
    return total(workers, "hitline_outcomes_total") >= accepted > 0

"""What a million pageviews cost each process in CPU seconds, posted one by one and in batches.

`AGAINST=REVISION` measures the gateway and worker of another revision beside these, in the same run: its rounds are
interleaved with this one's, and it uses the same libraries, broker and database.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests import http, parts, services
from tests.bench import metrics, requests
from tests.bench.cpu import Meter
from tests.bench.gateway_speed import ITEMS, ROOT, load
from tests.bench.sizes import Sizes
from tests.bench.table import Table, ratios
from tests.services import Service, System

PARTS: Final = ("gateway", "broker", "worker", "ClickHouse")
THIS: Final = "this"
#: What is posted how, by how many connections, and what it may cost of the version before (design, section 10).
KINDS: Final = {"single": (64, 0.6), "batches": (16, 0.8)}
#: What ClickHouse still has to merge when everything is stored counts, too, as far as it is done soon.
_SETTLE_S: Final = 2.0
#: How long is measured what everything uses at rest, which no pageview costs.
_REST_S: Final = 3.0
#: What the accounting's resolution is: nothing costs less.
_TICK_S: Final = 0.01

#: CPU seconds a million pageviews, by revision, kind and part: one value a round.
Costs = dict[tuple[str, str, str], list[float]]


class Version(NamedTuple):
    """A gateway and a worker of one revision."""

    name: str
    gateway: Service
    worker: Service


def run(system: System, table: Table, sizes: Sizes) -> None:
    """Measure and add the rows."""
    system.gateway.stop()
    against = os.environ.get("AGAINST", "")
    token = services.add_client(system.env, "cost", "example.com", rate="1000000000/second")
    prepared = {"single": requests.single(token, sizes.requests), "batches": requests.batches(token, ITEMS)}
    costs: Costs = defaultdict(list)
    with contextlib.ExitStack() as stack:
        roots = {THIS: ROOT}
        if against:
            roots[against] = stack.enter_context(checked_out(against))
        for round_number in range(sizes.rounds):
            for kind in KINDS:
                # In another order each round: who comes second finds the broker's and ClickHouse's caches full.
                for name, root in list(roots.items())[:: -1 if round_number % 2 else 1]:
                    table.progress(f"round {round_number + 1}: {kind}, {name}")
                    with version(system, name, root) as running:
                        measured = measure(system, running, kind, prepared[kind], sizes.seconds)
                    for part, seconds in measured.items():
                        costs[name, kind, part].append(seconds)
    report(costs, against, table)


@contextlib.contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Check a revision out beside this one for a while."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tree"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--detach", "--quiet", str(path), revision], check=True)
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", str(path)], check=True)


@contextlib.contextmanager
def version(system: System, name: str, root: Path) -> Iterator[Version]:
    """Start the gateway and a worker of the tree at `root`, with a state of their own."""
    directory = system.logs.parent / f"cost-{name.replace('/', '-')}"
    env = {**system.env, "HITLINE_HTTP_PORT": "0", "HITLINE_STATE_DIR": str(directory)}
    env["HITLINE_FLUSH_SECONDS"] = "0.5"
    directory.mkdir(exist_ok=True)
    gateway = Service("gateway", env, directory / "gateway.log", cwd=root)
    worker = Service("worker", env, directory / "worker.log", cwd=root)
    try:
        yield Version(name, gateway.start(), worker.start())
    finally:
        gateway.end()
        worker.stop()


def measure(system: System, version: Version, kind: str, prepared: list[bytes], seconds: float) -> dict[str, float]:
    """Post for some seconds and wait until all is stored; returns the CPU seconds a million pageviews of each part.

    What a part uses at rest is not among them.
    """
    gateway, worker = version.gateway, version.worker
    services.wait_for(lambda: http.ready(gateway.admin_port) and http.ready(worker.admin_port))
    parts.empty_tables_of_pageviews(system.clickhouse)
    load(gateway.port, 4, prepared[:200], seconds=0.2)  # connections, imports and caches of the first requests
    services.wait_for(lambda: done(version))
    before = metrics.total(gateway, "hitline_accepted_pageviews_total")
    pids = dict(zip(PARTS, (gateway.pid, system.broker.pid, worker.pid, system.clickhouse.pid), strict=True))
    resting = Meter(pids)
    time.sleep(_REST_S)
    at_rest = {part: used / _REST_S for part, used in resting.seconds().items()}
    meter, began = Meter(pids), time.monotonic()
    load(gateway.port, KINDS[kind][0], prepared, seconds=seconds)
    services.wait_for(lambda: done(version), 120)
    time.sleep(_SETTLE_S)
    accepted = metrics.total(gateway, "hitline_accepted_pageviews_total") - before
    rested_s = time.monotonic() - began
    # On a busy machine few pageviews come in the same time, and what the parts use at rest would look like their cost.
    return {
        part: max(_TICK_S, used - at_rest[part] * rested_s) / accepted * 1e6 for part, used in meter.seconds().items()
    }


def done(version: Version) -> bool:
    """Return whether the worker has counted everything that the gateway has accepted."""
    counted = metrics.total(version.worker, "hitline_outcomes_total")
    return counted >= metrics.total(version.gateway, "hitline_accepted_pageviews_total") > 0


def report(costs: Costs, against: str, table: Table) -> None:
    """Add the rows."""

    def total(name: str, kind: str) -> list[float]:
        return [sum(each) for each in zip(*(costs[name, kind, part] for part in PARTS), strict=True)]

    for name in filter(None, (THIS, against)):
        beside = "" if name == THIS else f" of {name}"
        for kind in KINDS:
            for part in PARTS:
                table.figure(f"CPU s a million pageviews{beside}, {kind}, {part}", costs[name, kind, part], "{:.1f}")
            table.figure(f"CPU s a million pageviews{beside}, {kind}, all", total(name, kind), "{:.1f}")
    if not against:
        return
    for kind, (_, reach) in KINDS.items():
        for part in PARTS:
            each = ratios(costs[THIS, kind, part], costs[against, kind, part])
            table.figure(f"{kind}, {part}: of {against}", each, "{:.2f}")
        table.ratio(
            f"{kind}, all processes: of {against}", ratios(total(THIS, kind), total(against, kind)), reach, at_most=True
        )

"""The gateway's rows of the speed table: three handlers on one machine in one run, their rounds interleaved."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests import services
from tests.bench import requests
from tests.bench.table import Table
from tests.services import Service, System

ROUNDS = 3
SECONDS = 5.0
KINDS = ("nothing", "each", "grouped")
ROOT = Path(__file__).parent.parent.parent


def run(system: System, table: Table) -> None:
    """Measure single and batch endpoint and add their rows."""
    gateways = {kind: start(system, kind) for kind in KINDS}
    token = services.add_client(system.env, "bench", "example.com", rate="1000000000/second")
    time.sleep(6)  # the registry's next poll
    try:
        single = requests.single(token)
        results: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        for _ in range(ROUNDS):
            for connections in (64, 256):
                for kind in KINDS:
                    results[kind, connections].append(load(gateways[kind].port, connections, single))
        batches = requests.batches(token, 500)
        many = [load(gateways["grouped"].port, 16, batches) for _ in range(ROUNDS)]
    finally:
        for gateway in gateways.values():
            gateway.end()
    report(results, many, table)


def start(system: System, kind: str) -> Service:
    env = {**system.env, "HITLINE_HTTP_PORT": "0"}
    if kind == "grouped":
        return Service("gateway", env, system.logs / "grouped.log").start()
    return Variant(kind, env, system.logs / f"{kind}.log").start()


class Variant(Service):
    """A gateway with another publisher."""

    def __init__(self, kind: str, env: dict[str, str], log: Path) -> None:
        super().__init__("gateway", env, log)
        self.command = [sys.executable, "-m", "tests.bench.variants", kind]


def load(
    port: int, connections: int, prepared: list[bytes], rate: float = 0, seconds: float = SECONDS
) -> dict[str, Any]:
    """Run the load generator and return what it measured."""
    command = [sys.executable, "-m", "tests.bench.client", str(port), str(connections), str(seconds), str(rate)]
    run = subprocess.run(command, input=b"\0\0\0\0".join(prepared), capture_output=True, cwd=ROOT, check=True)
    result: dict[str, Any] = json.loads(run.stdout)
    assert set(result["statuses"]) == {"202"}, result["statuses"]
    return result


def report(results: dict[tuple[str, int], list[dict[str, Any]]], many: list[dict[str, Any]], table: Table) -> None:
    def median(kind: str, connections: int, key: str = "per_second") -> float:
        return statistics.median(result[key] for result in results[kind, connections])

    for connections in (64, 256):
        for kind, what in zip(KINDS, ("publishing nothing", "a publish a request", "Hitline"), strict=True):
            table.note(
                f"single endpoint, {connections} connections, {what}",
                f"{median(kind, connections):,.0f}/s, p99 {median(kind, connections, 'p99_ms'):.1f} ms",
            )
    for connections, reach in ((256, 0.9), (64, 0.6)):
        table.ratio(
            f"single endpoint, durable 202s, of publishing nothing at {connections}",
            median("grouped", connections) / median("nothing", connections), reach,
        )  # fmt: skip
    table.ratio("single endpoint, of a publish a request at 256", median("grouped", 256) / median("each", 256), 3)
    table.ratio(
        "p99 at 64 connections, of publishing nothing",
        median("grouped", 64, "p99_ms") / median("nothing", 64, "p99_ms"), 3, at_most=True,
    )  # fmt: skip
    pageviews = statistics.median(result["per_second"] for result in many) * 500
    table.note("batch endpoint, 500 a batch, 16 connections", f"{pageviews:,.0f} pageviews/s")
    table.ratio("batch endpoint, of the single one at 256", pageviews / median("grouped", 256), 6)


def fsync_p99_ms(directory: Path, times: int = 200) -> float:
    """Return the 99th percentile of writing and syncing 4 KiB, in milliseconds: what a durable 202 can't beat."""
    seconds = []
    with (directory / "fsync").open("wb") as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    return sorted(seconds)[int(times * 0.99)] * 1000

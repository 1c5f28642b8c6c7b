"""The gateway's rows of the speed table: four handlers on one machine in one run, their rounds interleaved."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests import services
from tests.bench import profile, requests
from tests.bench.sizes import Sizes
from tests.bench.table import Table, ratios
from tests.services import Service, System

#: Bare aiohttp, the gateway with two other publishers, and the gateway as it is; and what the table calls them.
KINDS: Final = {
    "bare": "bare aiohttp",
    "nothing": "publishing nothing",
    "each": "a publish a request",
    "grouped": "Hitline",
}
CONNECTIONS: Final = (64, 256)
ITEMS: Final = 500
ROOT: Final = Path(__file__).parent.parent.parent
#: A registry's poll, before which a gateway does not know a new client.
_POLL_S: Final = 6

Results = dict[tuple[str, int], list[dict[str, Any]]]


def run(system: System, table: Table, sizes: Sizes) -> None:
    """Measure single and batch endpoint and add their rows."""
    token = services.add_client(system.env, "bench", "example.com", rate="1000000000/second")
    with started(system) as ports, profile.flames(system.gateway.pid, "gateway-single") as flames:
        time.sleep(_POLL_S)
        single = requests.single(token, min(2_000, sizes.requests))
        batches = requests.batches(token, ITEMS)
        results: Results = defaultdict(list)
        for round_number in range(sizes.rounds):
            for connections in CONNECTIONS:
                for kind, what in KINDS.items():
                    table.progress(f"round {round_number + 1}: {what}, {connections} connections")
                    results[kind, connections].append(load(ports[kind], connections, single, seconds=sizes.seconds))
            table.progress(f"round {round_number + 1}: batches")
            results["batches", 16].append(load(ports["grouped"], 16, batches, seconds=sizes.seconds))
        flames.note(table)
    report(results, table)


@contextlib.contextmanager
def started(system: System) -> Iterator[dict[str, int]]:
    """Start all handlers; yields their ports."""
    env = {**system.env, "HITLINE_HTTP_PORT": "0"}
    gateways = {
        kind: Service("gateway", env, system.logs / f"{kind}.log", [sys.executable, "-m", "tests.bench.variants", kind])
        for kind in ("nothing", "each")
    }
    with contextlib.ExitStack() as stack:
        bare = subprocess.Popen([sys.executable, "-m", "tests.bench.bare"], cwd=ROOT, stdout=subprocess.PIPE)
        stack.callback(bare.wait)
        stack.callback(bare.kill)
        ports = {"bare": int(bare.stdout.readline()), "grouped": system.port}
        for kind, gateway in gateways.items():
            stack.callback(gateway.end)
            ports[kind] = gateway.start().port
        yield ports


def load(port: int, connections: int, prepared: list[bytes], rate: float = 0, seconds: float = 5.0) -> dict[str, Any]:
    """Run the load generator and return what it measured."""
    command = [sys.executable, "-m", "tests.bench.client", str(port), str(connections), str(seconds), str(rate)]
    run = subprocess.run(command, input=b"\0\0\0\0".join(prepared), capture_output=True, cwd=ROOT, check=True)
    result: dict[str, Any] = json.loads(run.stdout)
    assert set(result["statuses"]) <= {"202"}, result["statuses"]
    return result


def report(results: Results, table: Table) -> None:
    """Add the rows."""

    def of(kind: str, connections: int, key: str = "per_second") -> list[float]:
        return [result[key] for result in results[kind, connections]]

    for connections in CONNECTIONS:
        for kind, what in KINDS.items():
            table.figure(f"single endpoint, {connections} connections, {what}", of(kind, connections))
    for kind, what in KINDS.items():
        table.figure(f"p99 at 64 connections, {what}", of(kind, 64, "p99_ms"), "{:.1f} ms")
    batches = [each * ITEMS for each in of("batches", 16)]
    table.figure("batch endpoint, 500 a batch, 16 connections, pageviews", batches)
    for connections, reach in ((256, 0.95), (64, 0.75)):
        table.ratio(
            f"single endpoint, durable 202s, of publishing nothing at {connections}",
            ratios(of("grouped", connections), of("nothing", connections)), reach,
        )  # fmt: skip
    for connections in CONNECTIONS:
        table.ratio(
            f"publishing nothing, of bare aiohttp at {connections}",
            ratios(of("nothing", connections), of("bare", connections)), 0.65,
        )  # fmt: skip
    table.ratio("single endpoint, of a publish a request at 256", ratios(of("grouped", 256), of("each", 256)), 3)
    table.ratio(
        "p99 at 64 connections, of publishing nothing",
        ratios(of("grouped", 64, "p99_ms"), of("nothing", 64, "p99_ms")), 2, at_most=True,
    )  # fmt: skip
    table.ratio("batch endpoint, of the single one at 256", ratios(batches, of("grouped", 256)), 8)


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

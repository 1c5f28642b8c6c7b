"""What a large registry costs: memory of processes, a change of one site, polls of idle ones, and a file applied.

`make bench ONLY=registry`; sizes can be set: `python -m tests.bench registry` with BENCH_CLIENTS=100 and the like.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.registry import Replica, Site, store
from shared.registry.poll import IDLE_SECONDS, Poller
from tests import http, parts, services
from tests.bench import gateway_speed, requests
from tests.bench.sites import wait_for_registry
from tests.bench.table import Table
from tests.services import System
from worker.lookups.exclusions import Exclusions


class Sizes(NamedTuple):
    """How much of everything; each can be set by an environment variable `BENCH_` and its name in capitals."""

    clients: int = 10_000
    #: Grants of each client.
    grants: int = 1_000
    #: Sites with `hostnames` each, and names seen of a wildcard site.
    sites: int = 20
    hostnames: int = 10_000
    seen: int = 50_000
    rules: int = 100_000
    changes: int = 10
    #: Sites and clients of the file that is applied.
    applied: int = 100_000
    idle: int = 50
    idle_seconds: int = 60


def sizes() -> Sizes:
    return Sizes(*(int(os.environ.get(f"BENCH_{name.upper()}") or size) for name, size in Sizes()._asdict().items()))


_WORKER: Final = ("sites", "exclusions")
_GATEWAY: Final = ("sites", "clients", "grants")
_FILL: Final = (
    "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at) SELECT generateUUIDv4(), concat('many', "
    "toString(number), '.example'), arrayMap(n -> concat('h', toString(n), '.many', toString(number), '.example'), "
    "range({hostnames})), now64(6) FROM numbers({sites})",
    "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at) SELECT generateUUIDv4(), concat('s', "
    "toString(number), '.example'), [concat('s', toString(number), '.example')], now64(6) FROM numbers({grants})",
    "INSERT INTO hitline_control.clients (client_id, name, token_sha256, grants_in_rows) SELECT generateUUIDv4(), "
    "concat('c', toString(number)), lower(hex(SHA256(toString(number)))), true FROM numbers({clients})",
    "INSERT INTO hitline_control.grants (client_id, permission, site_id) SELECT client_id, 'site.manage_data', site_id "
    "FROM hitline_control.clients CROSS JOIN "
    "(SELECT site_id FROM hitline_control.sites WHERE name LIKE 's%.example') AS chosen "
    "WHERE name LIKE 'c%' SETTINGS max_block_size = 65536",
    "INSERT INTO hitline_control.exclusions (exclusion_id, kind, value, site_id) SELECT generateUUIDv4(), "
    "['path', 'user_agent', 'cidr'][number % 3 + 1] AS kind, multiIf(kind = 'path', concat('/section/', "
    "toString(number)), kind = 'cidr', concat(IPv4NumToString(toUInt32(167772160 + number)), '/32'), "
    "concat('agent ', toString(number), ' of none')), NULL FROM numbers({rules})",
)

_CHANGES: Final = {
    "site": "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at)"
    " SELECT site_id, name, hostnames, created_at FROM hitline_control.sites WHERE name = 's0.example' LIMIT 1",
    "site with many hostnames": "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at)"
    " SELECT site_id, name, arrayPushBack(hostnames, concat('new', toString(rand()), '.example')), created_at"
    " FROM hitline_control.sites WHERE name = 'many0.example' ORDER BY version DESC LIMIT 1",
    "rule of many": "INSERT INTO hitline_control.exclusions (exclusion_id, kind, value)"
    " SELECT generateUUIDv4(), 'user_agent', concat('added ', toString(rand()))",
}


def run(system: System, table: Table) -> None:
    """Measure and add the rows."""
    size = sizes()
    system.gateway.stop()
    parts.run_apart(lambda: idle_processes(system, size, table))
    applied_file(system, size, table)
    parts.empty_tables(system.clickhouse)
    wildcard = [f"*.w{number}.example" for number in range(200)]
    token = parts.run_apart(lambda: add_wildcard_site(system.clickhouse, wildcard))
    began = time.perf_counter()
    parts.run_apart(lambda: fill(system.clickhouse, size))
    table.note(f"{size.clients * size.grants:,} grants into ClickHouse", f"{time.perf_counter() - began:.1f} s")
    names_of_a_site(system, size, table)
    parts.run_apart(lambda: changes(system, size, table))
    memory(system, size, token, table)


async def fill(clickhouse: ClickHouseProcess, size: Sizes) -> None:
    client = ClickHouse(clickhouse.url, "hitline bench", read_s=600)
    for statement in _FILL:
        await client.command(statement.format(**size._asdict()))
    await client.close()


async def add_wildcard_site(clickhouse: ClickHouseProcess, wildcard: list[str]) -> str:
    client = ClickHouse(clickhouse.url, "hitline bench")
    await store.put(client, Site(os.urandom(16), wildcard[0], tuple(wildcard)))
    await client.close()
    return services.add_client(parts.make_env(clickhouse.path.parent / "cli", clickhouse), "everywhere", "*")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def pollers(
    system: System, number: int, tables: tuple[str, ...], idle_s: float | None = IDLE_SECONDS
) -> AsyncIterator[list[Coroutine[Any, Any, None]]]:
    """Yield what polls like `number` processes without anything to do."""
    async with AsyncExitStack() as stack:
        work = []
        for _ in range(number):
            clickhouse = ClickHouse(system.clickhouse.url, "hitline idle")
            stack.push_async_callback(clickhouse.close)
            replica = Replica(Path(system.env["HITLINE_STATE_DIR"]) / "idle", "idle", tables)
            stack.callback(replica.close)
            work.append(Poller(replica, clickhouse, idle_s=idle_s).run())
        yield work


async def idle_processes(system: System, size: Sizes, table: Table) -> None:
    """Processes with nothing to do: light stand-ins, which poll as gateways and workers do."""
    for what, idle_s, most in (
        ("idle processes", IDLE_SECONDS, 5),
        ("gateways that have something to do", None, 10),  # a fifth of a percent each
    ):
        async with pollers(system, size.idle, _GATEWAY, idle_s) as work:
            tasks = [asyncio.create_task(each) for each in work]
            await asyncio.sleep(2 * IDLE_SECONDS)  # their starts are over
            before, began = cpu_s(system.clickhouse.pid), time.perf_counter()
            await asyncio.sleep(size.idle_seconds)
            percent = 100 * (cpu_s(system.clickhouse.pid) - before) / (time.perf_counter() - began)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        before, began = cpu_s(system.clickhouse.pid), time.perf_counter()
        await asyncio.sleep(size.idle_seconds / 4)
        alone = 100 * (cpu_s(system.clickhouse.pid) - before) / (time.perf_counter() - began)
        table.note(f"ClickHouse, with nobody connected, % of a core (before: {percent:.1f})", f"{alone:.1f}")
        table.ratio(
            f"ClickHouse, polls of {size.idle} {what}, % of a core", percent - alone, most, at_most=True, form="{:.1f}"
        )


def names_of_a_site(system: System, size: Sizes, table: Table) -> None:
    """Memory that a process takes for the names that it has seen of one wildcard site."""
    script = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from shared.clickhouse import ClickHouse\n"
        "from shared.registry import Replica\n"
        "from shared.registry.poll import Poller\n"
        "rss = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 2**20\n"
        "async def main():\n"
        "    replica = Replica(Path(sys.argv[1]), 'names', ('sites',))\n"
        "    assert await Poller(replica, ClickHouse(sys.argv[2], 'hitline bench')).refresh()\n"
        "    replica.find_site('x.w0.example')\n"
        "    before = rss()\n"
        "    found = {id(replica.find_site(f'n{n}.w{n % 200}.example')) for n in range(int(sys.argv[3]))}\n"
        "    assert len(found) == 1, found\n"
        "    print(rss() - before)\n"
        "asyncio.run(main())\n"
    )
    state = str(Path(system.env["HITLINE_STATE_DIR"]) / "names")
    arguments = [sys.executable, "-c", script, state, system.clickhouse.url, str(size.seen)]
    mib = float(subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=services.ROOT).stdout)
    table.ratio(f"a site with 200 wildcards and {size.seen:,} names seen, MiB", mib, 20, at_most=True, form="{:.1f}")


async def changes(system: System, size: Sizes, table: Table) -> None:
    """One change after another of a site with many hostnames, and of a rule, as a worker follows them."""
    clickhouse = ClickHouse(system.clickhouse.url, "hitline bench")
    replica = Replica(Path(system.env["HITLINE_STATE_DIR"]) / "changes", "changes", _WORKER)
    poller = Poller(replica, clickhouse)
    assert await poller.refresh()
    began = time.perf_counter()
    exclusions = await asyncio.to_thread(Exclusions, replica)
    table.note(f"{size.rules:,} rules compiled at the start", f"{time.perf_counter() - began:.1f} s")
    for number in range(size.seen):
        replica.find_site(f"n{number}.w{number % 200}.example")
    for what, statement in _CHANGES.items():
        seconds, held = [], []
        for _ in range(size.changes):
            parts.execute(system.clickhouse, statement)
            before = time.process_time()
            await follow(poller, exclusions)
            seconds.append(time.process_time() - before)
            parts.execute(system.clickhouse, statement)
            held.append(await longest_hold(follow(poller, exclusions)))  # which takes time of its own
        cpu_ms, held_ms = 1e3 * statistics.median(seconds), 1e3 * statistics.median(held)
        table.ratio(f"a change of a {what}, ms of a worker's CPU", cpu_ms, 20, at_most=True, form="{:.1f}")
        table.ratio(f"a change of a {what}, longest hold of the loop, ms", held_ms, 20, at_most=True, form="{:.1f}")
    replica.close()
    await clickhouse.close()


async def follow(poller: Poller, exclusions: Exclusions) -> None:
    assert await poller.refresh()
    await asyncio.to_thread(exclusions.refresh)


async def longest_hold(work: Coroutine[Any, Any, None]) -> float:
    """Run `work`; return the longest time for which the loop did not come to a task that is always ready."""
    task, longest = asyncio.create_task(work), 0.0
    last = time.perf_counter()
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last - 0.001), now
    await task
    return longest


def memory(system: System, size: Sizes, token: str, table: Table) -> None:
    """A gateway and a worker with all of it, once they have seen the names."""
    version = int(parts.execute(system.clickhouse, "SELECT max(version) FROM hitline_control.grants"))
    with services.service("gateway", {**system.env, "HITLINE_HTTP_PORT": "0"}, system.logs / "large.log") as gateway:
        began = time.perf_counter()
        wait_for_registry(gateway, version)
        table.note("a gateway's first load of it", f"{time.perf_counter() - began:.0f} s")
        services.wait_for(lambda: http.ready(gateway.admin_port))
        pageviews = [
            json.dumps({**each, "url": f"https://n{number}.w{number % 200}.example/page"}).encode()
            for number, each in enumerate(requests.pageviews(size.seen))
        ]
        batches = [
            requests.http_request(http.BATCH_ENDPOINT, b"\n".join(pageviews[at : at + 500]), token)
            for at in range(0, len(pageviews), 500)
        ]
        gateway_speed.load(gateway.port, 4, batches)
        table.ratio("gateway, resident MiB", gateway.resident_mib(), 450, at_most=True, form="{:.0f}")
        services.add_client(system.env, "one more", "*")
        services.wait_for(lambda: gateway.resident_mib() > 0)
        worker = system.add_worker()
        services.wait_for(lambda: services.count(system.clickhouse, "pageviews_raw") >= min(size.seen, 10_000), 120)
        time.sleep(5)
        table.ratio("worker, resident MiB", worker.resident_mib(), 600, at_most=True, form="{:.0f}")
        worker.stop()
        file = max(
            Path(system.env["HITLINE_STATE_DIR"]).glob("registry-gateway-*.sqlite"), key=lambda p: p.stat().st_size
        )
        table.note("the gateway's copy on disk", f"{file.stat().st_size / 2**20:.0f} MiB")


def applied_file(system: System, size: Sizes, table: Table) -> None:
    """A file with many sites and clients applied, exported, and applied to an empty registry."""
    parts.empty_tables(system.clickhouse)
    directory = Path(system.env["HITLINE_STATE_DIR"])
    for form in ("ndjson", "yaml"):
        file, exported = directory / f"made-{form}.{form}", directory / f"exported-{form}.{form}"
        file.write_text("".join(ndjson_of(size.applied) if form == "ndjson" else yaml_of(size.applied)))
        parts.empty_tables(system.clickhouse)
        began = time.perf_counter()
        apply(system, file)
        seconds = time.perf_counter() - began
        table.ratio(
            f"{size.applied:,} sites and clients applied from {form}, s", seconds, 60, at_most=True, form="{:.1f}"
        )
        began = time.perf_counter()
        exported.write_text(services.hitline(system.env, "export", "--format", form).stdout)
        table.note(f"exported as {form}", f"{time.perf_counter() - began:.1f} s")
        parts.empty_tables(system.clickhouse)
        apply(system, exported)
        again = services.hitline(system.env, "export", "--format", form).stdout
        table.note("applied to an empty registry and exported again: equal", str(again == exported.read_text()))


def apply(system: System, file: Path) -> None:
    services.hitline(system.env, "apply", "--prune", "--tokens-dir", str(file.with_suffix(".tokens")), str(file))


def ndjson_of(number: int) -> list[str]:
    sites = [
        f'{{"kind":"site","name":"a{n}.example","hostnames":["b{n}.example"],"retention_days":30}}\n'
        for n in range(number)
    ]
    return sites + [f'{{"kind":"client","name":"client {n}","grants":["a{n}.example"]}}\n' for n in range(number)]


def yaml_of(number: int) -> list[str]:
    sites = [f"  - name: a{n}.example\n    hostnames: [b{n}.example]\n    retention_days: 30\n" for n in range(number)]
    clients = [f"  - name: client {n}\n    grants: [a{n}.example]\n" for n in range(number)]
    return ["sites:\n", *sites, "clients:\n", *clients]

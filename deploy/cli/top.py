"""`hitline top`: a live view of gateways, queue, workers and ClickHouse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import click
from rich.console import Console
from rich.live import Live

from deploy.cli.support import load_settings, print_json, run
from deploy.observe.top import processes, stores
from deploy.observe.top.keys import keys
from deploy.observe.top.processes import Process
from deploy.observe.top.screen import draw, rates
from shared.clickhouse import ClickHouse
from shared.settings import Settings

#: The defaults of HITLINE_ADMIN_PORT: the gateway's, the worker's.
_HERE = ("127.0.0.1:9080", "127.0.0.1:9081")
_READ_SECONDS = 10.0


@click.command
@click.option(
    "--process", "addresses", multiple=True, metavar="HOST:PORT",
    help="The private port of a gateway or worker; may be given several times. By default those on this host.",
)  # fmt: skip
@click.option("--every", "every_s", default=2.0, type=click.FloatRange(0.5, 60), help="Seconds between two looks.")
@click.option("--clients", is_flag=True, help="Show the busiest API clients, too (key c).")
@click.option("--once", is_flag=True, help="Print one picture and leave.")
@click.option("--json", "as_json", is_flag=True, help="Print one look as JSON and leave.")
def top(addresses: tuple[str, ...], every_s: float, clients: bool, once: bool, as_json: bool) -> None:
    """Show what is accepted, refused, waiting and stored right now, and by which processes.

    Reads the processes' private ports, the broker's queues and ClickHouse; changes nothing.
    """
    settings = load_settings()
    addresses = addresses or _here()
    if once or as_json:
        run(_once(settings, addresses, every_s, clients, as_json))
    else:
        run(_live(settings, addresses, every_s, clients))


def _here() -> tuple[str, ...]:
    names = ("HITLINE_ADMIN_PORT", "HITLINE_WORKER_ADMIN_PORT")
    ports = [port for name in names if (port := os.environ.get(name, "")).isdigit() and port != "0"]
    return tuple(f"127.0.0.1:{port}" for port in ports) or _HERE


async def _once(settings: Settings, addresses: Sequence[str], every_s: float, clients: bool, as_json: bool) -> None:
    clickhouse = ClickHouse(
        settings.clickhouse_url, "hitline top", read_s=_READ_SECONDS, cluster=settings.clickhouse_cluster
    )
    before = await processes.look(addresses)
    await asyncio.sleep(min(every_s, 1.0))
    now = await processes.look(addresses)
    state = await stores.look(settings.amqp_url, clickhouse, clients=clients or as_json)
    await clickhouse.close()
    if not as_json:
        Console().print(draw(before, now, state, clients=clients))
        return
    each = [
        {**vars(process), "per_second": vars(rates(earlier, process))}
        for earlier, process in zip(before, now, strict=True)
    ]
    print_json({"processes": each, **vars(state)})


async def _live(settings: Settings, addresses: Sequence[str], every_s: float, clients: bool) -> None:
    clickhouse = ClickHouse(
        settings.clickhouse_url, "hitline top", read_s=_READ_SECONDS, cluster=settings.clickhouse_cluster
    )
    before: Sequence[Process] = ()
    paused = False
    with keys() as pressed, Live(screen=True, auto_refresh=False) as live:
        while True:
            if not paused:
                now, state = await asyncio.gather(
                    processes.look(addresses), stores.look(settings.amqp_url, clickhouse, clients=clients)
                )
                live.update(draw(before, now, state, clients=clients), refresh=True)
                before = now
            key = await _key(pressed, every_s)
            if key == "q":
                break
            paused = paused != (key == "p")
            clients = clients != (key == "c")
    await clickhouse.close()


async def _key(pressed: asyncio.Queue[str], seconds: float) -> str:
    """Wait for a key, but no longer than that."""
    try:
        async with asyncio.timeout(seconds):
            return await pressed.get()
    except TimeoutError:
        return ""

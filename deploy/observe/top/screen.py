"""The screen of `hitline top`, from two looks a moment apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.observe.top.processes import Process
from deploy.observe.top.stores import MINUTES, Stores
from shared.terminal import visible

_OLD_S = 5.0


@dataclass(frozen=True)
class Rates:
    """Per second, of one process between two looks; all 0 at the first look or after a restart."""

    accepted: float = 0.0
    refused: float = 0.0
    outcomes: float = 0.0
    inserts: float = 0.0
    cpu: float = 0.0


def rates(before: Process | None, now: Process) -> Rates:
    """Return what the process did each second between two looks."""
    if before is None or now.at <= before.at or now.cpu_seconds < before.cpu_seconds:
        return Rates()
    seconds = now.at - before.at
    return Rates(
        (now.accepted - before.accepted) / seconds,
        (now.refused.total() - before.refused.total()) / seconds,
        (now.outcomes.total() - before.outcomes.total()) / seconds,
        (now.inserts - before.inserts) / seconds,
        (now.cpu_seconds - before.cpu_seconds) / seconds,
    )


def draw(before: Sequence[Process], now: Sequence[Process], stores: Stores, *, clients: bool) -> RenderableType:
    """Return all that is on the screen."""
    known = {process.address: process for process in before}
    each = [(process, rates(known.get(process.address), process)) for process in now]
    refused, outcomes = Counter[str](), Counter[str]()
    for process in now:
        if (last := known.get(process.address)) is not None:
            refused += process.refused - last.refused
            outcomes += process.outcomes - last.outcomes
    parts: list[RenderableType] = [_flow(each, stores), _reasons(refused, outcomes), _processes(each)]
    if clients:
        parts.append(_clients(stores))
    parts += [Text(visible(problem), style="red") for problem in stores.problems]
    parts.append(Text("c clients   p pause   q quit", style="dim"))
    return Group(*parts)


def _flow(each: Sequence[tuple[Process, Rates]], stores: Stores) -> Panel:
    accepted = sum(rate.accepted for _, rate in each)
    refused = sum(rate.refused for _, rate in each)
    table = Table.grid(expand=True, padding=(0, 2))
    for _ in range(5):
        table.add_column(justify="left")
    table.add_row(
        *(Text(name, style="dim") for name in ("accepted/s", "refused/s", "waiting", "stored/s (1 min)", "behind"))
    )
    table.add_row(
        Text(f"{accepted:,.0f}", style="bold green"),
        Text(f"{refused:,.0f}", style="bold red" if refused else "bold"),
        Text(_number(stores.waiting), style="bold"),
        Text(_number(None if stores.stored is None else stores.stored / 60), style="bold green"),
        _behind(stores),
    )
    dead = Text(f"{stores.dead:,} dead letters: see `hitline dead list`", style="yellow") if stores.dead else Text("")
    return Panel(Group(table, dead), title="Hitline", title_align="left")


def _behind(stores: Stores) -> Text:
    if stores.behind_s is None:
        return Text("nothing stored for a minute", style="dim")
    return Text(f"{stores.behind_s:.1f} s (p99)", style="bold" if stores.behind_s < _OLD_S else "bold yellow")


def _reasons(refused: Counter[str], outcomes: Counter[str]) -> Table:
    table = Table(expand=True, box=None, padding=(0, 2, 0, 0))
    for name in ("refused since the last look", "outcomes since the last look"):
        table.add_column(name)
        table.add_column("", justify="right")
    for left, right in zip_longest(refused.most_common(8), outcomes.most_common(8), fillvalue=("", 0)):
        table.add_row(
            *(text for name, count in (left, right) for text in (visible(name), f"{count:,.0f}" if name else ""))
        )
    return table


def _processes(each: Sequence[tuple[Process, Rates]]) -> Table:
    table = Table(expand=True, box=None, padding=(0, 1, 0, 0))
    for name in ("process", "port", "state"):
        table.add_column(name, no_wrap=name != "state")
    for name in ("views/s", "inserts/s", "held", "CPU", "memory", "registry"):
        table.add_column(name, justify="right", no_wrap=True)
    for process, rate in each:
        if not process.kind:
            table.add_row("?", _port(process), Text("no answer", style="red"), *[""] * 6)
            continue
        is_worker = process.kind == "worker"
        table.add_row(
            process.kind, _port(process), _state(process),
            f"{rate.outcomes if is_worker else rate.accepted:,.0f}", f"{rate.inserts:.1f}" if is_worker else "",
            f"{process.waiting:,.0f}", f"{rate.cpu:.0%}", f"{process.resident_bytes / 2**20:,.0f} MiB",
            f"{process.registry_age_s:,.0f} s",
        )  # fmt: skip
    return table


def _port(process: Process) -> str:
    return visible(process.address.removeprefix("127.0.0.1"))


def _state(process: Process) -> Text:
    if process.unready:
        return Text(visible(process.unready), style="red")
    if process.paused:
        return Text(f"paused: {visible(process.paused)}", style="yellow")
    return Text("ready", style="green")


def _clients(stores: Stores) -> Table:
    table = Table(expand=True, box=None, padding=(0, 2, 0, 0))
    table.add_column(f"client (last {MINUTES} minutes)")
    table.add_column("stored a minute", justify="right")
    for name, stored in stores.clients:
        table.add_row(visible(name), f"{stored:,.1f}")
    if not stores.clients:
        table.add_row(Text("none", style="dim"), "")
    return table


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"

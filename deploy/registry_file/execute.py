"""Making the registry as a file says, beside others who may change it at the same time.

ClickHouse has no transactions, so a writer looks again after it has written: whoever comes last sees what both wrote.
It writes again where its own changes were lost, puts them on top of another's that it had not seen, and withdraws what
another had added under the same name a moment before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from deploy.registry_file.entries import ClientEntry, SiteEntry
from deploy.registry_file.parse import Document
from deploy.registry_file.plan import Plan, Planner, merged_site
from deploy.registry_file.state import State, read_state
from shared.clickhouse import ClickHouse
from shared.registry import Client, Site, store
from shared.registry.records import CLIENTS, SITES, Change, Record
from shared.registry.window import OVERLAP_US

#: Looks, each after writing what was found: the second one usually finds nothing.
_ROUNDS: Final = 8


class Unsettled(Exception):
    """Others keep changing the same records to something else."""


async def apply(
    clickhouse: ClickHouse,
    document: Document,
    *,
    prune: bool,
    name: str,
    announce: Callable[[Plan], None],
    issue: Callable[[Client], str],
) -> list[Client]:
    """Change what differs, and return the new clients that are in force.

    Before anything is written, `announce` is told the plan, and `issue` keeps a token for each new client and returns
    its hash.  Raises `BadFile`, and `Unsettled` when others change the same to something else again and again.
    """
    state = await read_state(clickhouse, grants="client" in document.kinds)
    plan = Planner(document, state, prune=prune, name=name).make()
    announce(plan)
    new: set[bytes] = set()
    for _ in range(_ROUNDS):
        if plan.empty:
            return [client for client in state.clients.values() if client.client_id in new]
        new |= plan.new
        plan.put = [_with_token(record, plan, issue) for record in plan.put]
        await _write(clickhouse, document, state, plan, prune=prune)
        state = await read_state(clickhouse, grants="client" in document.kinds)
        plan = Planner(document, state, prune=prune, name=name).make()
        plan.remove += [double for double in state.doubles if _id(double) in new]
    raise Unsettled


def _with_token(record: Record, plan: Plan, issue: Callable[[Client], str]) -> Record:
    if isinstance(record, Client) and record.client_id in plan.new:
        return dataclasses.replace(record, token_sha256=issue(record))
    return record


async def _write(clickhouse: ClickHouse, document: Document, state: State, plan: Plan, *, prune: bool) -> None:
    """Write a plan: clients last, so that a token works for all that it is for as soon as it works at all."""
    newest = max(state.versions.values(), default=0)
    written: dict[bytes, Change] = {}
    if plan.remove:
        await store.remove(clickhouse, *plan.remove)
    clients = [record for record in plan.put if isinstance(record, Client)]
    others = [record for record in plan.put if not isinstance(record, Client)]
    for records in (others, clients):
        for version, some in await store.put(clickhouse, *records):
            written |= {_id(record): Change(record, version) for record in some}
    entries: dict[str, SiteEntry | ClientEntry] = {site.name: site for site in document.sites}
    for table in (SITES, CLIENTS):
        if table is CLIENTS:
            entries = {client.name: client for client in document.clients}
        mine = {change.version for change in written.values()}
        between = await store.newest(
            clickhouse,
            table,
            where="version > {after:Int64} AND version NOT IN {mine:Array(UInt64)}",
            parameters={"after": newest - OVERLAP_US, "mine": sorted(mine)},
        )
        redone = [record for other in between for record in _redone(other, written, state, entries, prune=prune)]
        await store.put(clickhouse, *redone)


def _redone(
    other: Change,
    written: Mapping[bytes, Change],
    state: State,
    entries: Mapping[str, SiteEntry | ClientEntry],
    *,
    prune: bool,
) -> list[Record]:
    """Return a record once more, with the file's changes on top of another's that were written over unseen."""
    mine = written.get(_id(other.record))
    base = state.versions.get(_id(other.record), 0)
    if mine is None or other.removed or not base < other.version < mine.version:
        return []
    entry = entries.get(getattr(other.record, "name", ""))
    again: Any = None
    if isinstance(other.record, Site) and isinstance(entry, SiteEntry):
        again = merged_site(entry, other.record, prune=prune)
    elif isinstance(other.record, Client) and isinstance(entry, ClientEntry):
        again = dataclasses.replace(other.record, **entry.fields)
    return [again] if again is not None and again != mine.record else []


def _id(record: Record) -> bytes:
    if isinstance(record, Site):
        return record.site_id
    return record.client_id if isinstance(record, Client) else b""

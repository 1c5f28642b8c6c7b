"""Changing a record of the registry beside others who change the same one.

ClickHouse has no transactions: of two commands that read the same state, the later one writes over what the earlier
one wrote.  So each looks again, after longer than it takes to read and to write, whether its change is still there, and
puts it on top of what is there now if it is not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

from deploy.cli.support import CommandError
from shared.clickhouse import ClickHouse
from shared.registry import Client, Site, store
from shared.registry.records import TABLES, Change

AnyRecord = TypeVar("AnyRecord", Site, Client)

#: Writes of one change; the first one usually stays.
_ROUNDS: Final = 8
#: What another may have read before a row was visible, and not yet written: it takes as long as here, or a bit longer.
_LEAST_PAUSE_S: Final = 0.1
_PAUSE: Final = 2.0


async def update(clickhouse: ClickHouse, record: AnyRecord, change: Callable[[AnyRecord], AnyRecord]) -> AnyRecord:
    """Write `change` of a record's newest state, and return what is then in force.

    `change` may be called several times, and has to give the same when it is called with its own result.  Raises
    `CommandError` if the record is removed meanwhile, or others change the same to something else again and again.
    """
    began = time.monotonic()
    first = current = (await _states(clickhouse, record))[-1]
    for _ in range(_ROUNDS):
        wanted = change(_in_force(current, record))
        await store.put(clickhouse, wanted)
        await _pause(began)
        began = time.monotonic()
        states = await _states(clickhouse, record, first.version)
        if any(state.removed for state in states):
            await end(clickhouse, record)
            raise CommandError(f"{record.name} was removed by another command meanwhile")
        current = states[-1]
        there = _in_force(current, record)
        if change(there) == there:
            return there
    raise CommandError(f"others keep changing {record.name} at the same time: look what it is now, and try again")


async def end(clickhouse: ClickHouse, record: Site | Client) -> None:
    """Remove a record for good: also where another command, which had read it before, writes it once more."""
    for _ in range(_ROUNDS):
        began = time.monotonic()
        await store.remove(clickhouse, record)
        await _pause(began)
        if (await _states(clickhouse, record))[-1].removed:
            return
    raise CommandError(f"others keep changing {record.name} at the same time, so that it is not removed: try again")


async def _pause(began: float) -> None:
    await asyncio.sleep(max(_LEAST_PAUSE_S, _PAUSE * (time.monotonic() - began)))


def _in_force(state: Change, record: AnyRecord) -> AnyRecord:
    if state.removed or not isinstance(state.record, type(record)):
        raise CommandError(f"{record.name} was removed by another command meanwhile")
    return state.record


async def _states(clickhouse: ClickHouse, record: Site | Client, after: int = 0) -> list[Change]:
    """Return the states of a record with a version above `after`, the newest last."""
    table = TABLES[type(record)]
    record_id = record.site_id if isinstance(record, Site) else record.client_id
    result = await clickhouse.query(
        f"SELECT {store.selection(table)} FROM hitline_control.{table.name}"  # noqa: S608 - names are constants
        f" WHERE {table.key[0]} = {{id:UUID}} AND version > {{after:UInt64}} ORDER BY version",
        {"id": str(UUID(bytes=record_id)), "after": after},
    )
    return store.to_changes(table, result.result_rows)

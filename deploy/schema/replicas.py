"""Whether every replica of a cluster has every table, and the same one: what `hitline migrate` compares beyond columns.

Replicas find each other by a path in Keeper that contains the table's UUID, which `CREATE … ON CLUSTER` gives to all
that are there.  A table that one replica lacks is therefore made as another one has it, under the same UUID; made by
itself, it would be another table of the same name, and never get a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from shared.clickhouse import ClickHouse
from shared.cluster import everywhere, on_cluster

_TABLES: Final = (
    "SELECT _shard_num, hostName(), database || '.' || name, engine, toString(uuid), create_table_query FROM {tables}"
    " WHERE database IN ('hitline', 'hitline_control')"
)
_REPLICAS: Final = "SELECT _shard_num, hostName() FROM {one}"


class _Table(NamedTuple):
    replica: int
    host: str
    name: str
    engine: str
    uuid: str
    create: str


async def compare(clickhouse: ClickHouse, expected: set[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return what is wrong with these tables and views, and the statements that mend it (none: people must decide).

    What no replica has is left to others, and so are replicas that do not answer.
    """
    cluster = clickhouse.cluster
    sql = _TABLES.format(tables=everywhere(cluster, "system.tables"))
    tables = [_Table(*row) for row in (await clickhouse.query(sql)).result_rows]
    rows = (await clickhouse.query(_REPLICAS.format(one=everywhere(cluster, "system.one")))).result_rows
    hosts: dict[int, str] = dict(map(tuple, rows))
    found: list[tuple[str, tuple[str, ...]]] = []
    for name in sorted(expected):
        found += _differences(name, [table for table in tables if table.name == name], hosts, cluster)
    return found


def _differences(
    name: str, there: list[_Table], hosts: dict[int, str], cluster: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not there:
        return
    is_view = there[0].engine.endswith("View")
    for replica, host in sorted(hosts.items()):
        if all(table.replica != replica for table in there):
            yield f"{name} is missing on replica {replica} ({host})", (_like(there[0], cluster, is_view=is_view),)
    if is_view:
        return
    for table in there:
        if not table.engine.startswith("Replicated"):
            yield (
                f"{name} is not replicated on replica {table.replica} ({table.host}): its engine is {table.engine}",
                (),
            )
    if len({table.uuid for table in there}) > 1:
        where = ", ".join(f"{table.uuid} on replica {table.replica} ({table.host})" for table in there)
        yield f"{name} is several tables that do not replicate each other: {where}", ()


def _like(table: _Table, cluster: str, *, is_view: bool) -> str:
    """Return the statement that makes a table where it is missing as this replica has it."""
    head, name, rest = table.create.partition(f" {table.name} ")
    same = "" if is_view else f" UUID '{table.uuid}'"
    return f"{head} IF NOT EXISTS {name.strip()}{same}{on_cluster(cluster)} {rest}"

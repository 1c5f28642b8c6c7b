"""ClickHouse as a cluster: whether its replicas are all there, up to date, and the tables replicated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from deploy.observe.finding import Finding, error, warning
from shared.clickhouse import ClickHouse
from shared.cluster import everywhere

_PART: Final = "clickhouse"
_BEHIND_S: Final = 60
_CLUSTER: Final = (
    "SELECT uniqExact(shard_num), uniqExact(shard_num, replica_num) FROM system.clusters"
    " WHERE cluster = {cluster:String}"
)
_REPLICATED: Final = (
    "SELECT count() FROM system.tables WHERE database IN ('hitline', 'hitline_control') AND engine LIKE 'Replicated%'"
)


async def look(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    """Yield what is wrong with a cluster, and replicated tables that are used as if there were none."""
    cluster = clickhouse.cluster
    if not cluster:
        if (await clickhouse.query(_REPLICATED)).result_rows[0][0]:
            problem = (
                "Hitline's tables are replicated, and HITLINE_CLICKHOUSE_CLUSTER is not set: look-ups ask one replica"
            )
            yield error(_PART, problem, "set it, for all processes, to the name of the cluster in system.clusters")
        return
    shards, replicas = (await clickhouse.query(_CLUSTER, {"cluster": cluster})).result_rows[0]
    if shards != 1:
        problem = f"the cluster {cluster} has {shards} shards, and Hitline's tables are replicas of one"
        yield error(_PART, problem, "name a cluster of one shard (docs/decisions/cluster.md)")
        return
    if replicas < 3:
        problem = f"the cluster {cluster} has {replicas} replicas: while one is down, nothing can be stored"
        yield warning(_PART, problem, "three replicas store with one of them down")
    answering = (await clickhouse.query(f"SELECT hostName() FROM {everywhere(cluster, 'system.one')}")).result_rows  # noqa: S608
    if len(answering) < replicas:
        problem = f"{len(answering)} of {replicas} replicas of the cluster {cluster} answer"
        yield error(_PART, problem, "start the others; or remove what is gone for good (SYSTEM DROP REPLICA)")
    async for finding in _tables(clickhouse):
        yield finding


async def _tables(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    sql = (
        "SELECT database || '.' || table, hostName(), is_readonly, absolute_delay"  # noqa: S608
        f" FROM {everywhere(clickhouse.cluster, 'system.replicas')}"
        " WHERE database IN ('hitline', 'hitline_control') AND (is_readonly OR absolute_delay > {behind:UInt32})"
    )
    for table, host, readonly, delay_s in (await clickhouse.query(sql, {"behind": _BEHIND_S})).result_rows:
        if readonly:
            yield error(_PART, f"{table} is read-only on {host}: it has no session with Keeper", "is Keeper up?")
        else:
            problem = f"{table} on {host} is {delay_s} s behind the other replicas"
            yield warning(_PART, problem, "see last_exception in its system.replication_queue")

"""What a majority of a cluster's replicas has: that is stored, whatever happens to the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from shared.clickhouse import ClickHouse
from shared.cluster import TooFewReplicas, everywhere

_ALL: Final = "SELECT count() FROM system.clusters WHERE cluster = {cluster:String}"


async def majority(clickhouse: ClickHouse) -> int:
    """Return how many replicas are a majority; raises `TooFewReplicas` while fewer answer."""
    cluster = clickhouse.cluster
    replicas = (await clickhouse.query(_ALL, {"cluster": cluster})).result_rows[0][0]
    if not replicas:
        raise TooFewReplicas(
            f"ClickHouse at {clickhouse.address} knows no cluster {cluster}: HITLINE_CLICKHOUSE_CLUSTER has to name one"
            " of its system.clusters"
        )
    needed: int = replicas // 2 + 1
    answering = await clickhouse.query(f"SELECT _shard_num FROM {everywhere(cluster, 'system.one')}")  # noqa: S608
    if len(answering.result_rows) < needed:
        raise TooFewReplicas(
            f"{len(answering.result_rows)} of the {replicas} replicas of ClickHouse's cluster {cluster} answer, and"
            f" {needed} are needed to know what is stored: start the others"
        )
    return needed


def had_by(number: int, rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """Yield each row, without its replica in front, that so many replicas have; a replica names a row once."""
    for row, replicas in Counter(tuple(row[1:]) for row in rows).items():
        if replicas >= number:
            yield row

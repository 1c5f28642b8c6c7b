"""ClickHouse as a cluster of replicas, `HITLINE_CLICKHOUSE_CLUSTER`: what statements and settings add for it.

One shard whose replicas hold all tables.  An insert succeeds once a majority has it, so a replica may lack rows that a
majority has, and hold some that no majority has.  Workers ask all replicas what is stored; commands stay with one
replica, and what must miss nothing waits first until it has everything; the registry is read from replicas that are
hardly behind.
"""

from __future__ import annotations

from typing import Any, Final

#: Of every statement on a cluster that has none of its own by these names.
SETTINGS: Final[dict[str, Any]] = {
    "insert_quorum": "auto",
    # In milliseconds: below the time for which any client that inserts waits for an answer.
    "insert_quorum_timeout": 15_000,
    # A replica that does not answer takes nothing from the others' answers.
    "skip_unavailable_shards": 1,
}
#: Of inserts of pageviews, whose client waits for minutes.
LONG_QUORUM: Final[dict[str, Any]] = {"insert_quorum_timeout": 60_000}

#: Codes (src/Common/ErrorCodes.cpp) of a replica that can't take part now, where another one may.
_ELSEWHERE: Final = frozenset({225, 242, 999})


class TooFewReplicas(OSError):
    """A question that only a majority of the replicas can answer was answered by fewer."""


def everywhere(cluster: str, table: str) -> str:
    """Return a table to select from on every replica that answers; without a cluster the table itself."""
    return f"clusterAllReplicas('{cluster}', {table})" if cluster else table


def on_cluster(cluster: str) -> str:
    """Return the clause that executes a statement on every replica; empty without a cluster."""
    return f" ON CLUSTER '{cluster}'" if cluster else ""


def is_better_elsewhere(code: int | None) -> bool:
    """Return whether another replica may succeed where this one answered with this code, or not at all (None)."""
    return code is None or code in _ELSEWHERE

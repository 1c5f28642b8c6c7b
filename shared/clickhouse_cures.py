"""What to do about errors that ClickHouse answers, by their code (src/Common/ErrorCodes.cpp)."""

from __future__ import annotations

from typing import Final

_SCHEMA: Final = "a table is not as Hitline made it: run `hitline migrate`, which names what differs, then `--repair`"

CURES: Final = {
    8: _SCHEMA,  # THERE_IS_NO_COLUMN
    10: _SCHEMA,  # NOT_FOUND_COLUMN_IN_BLOCK
    16: _SCHEMA,  # NO_SUCH_COLUMN_IN_TABLE
    47: _SCHEMA,  # UNKNOWN_IDENTIFIER
    159: "a replica has not executed a statement in time: start it, and it will; then run the command again",
    202: "too many statements run at once: raise max_concurrent_queries, or use fewer workers",
    225: "it has no Keeper configured, which a cluster needs",
    241: "its memory limit is reached: raise max_server_memory_usage or the user's max_memory_usage, or add memory",
    242: "the table is read-only: is a replica without Keeper, or table_readonly set?",
    243: "its disk is full: make room",
    252: "too many parts: inserts wait for merges; are merges stopped, or the disk slow?",
    285: "too few replicas are up: start them",
    319: "no majority of the replicas has confirmed it in time: are they up, and do they fetch from each other?",
    341: "a replica that is down has not done it yet: start it, or drop it (SYSTEM DROP REPLICA)",
    999: "ClickHouse Keeper does not answer: is a majority of it up?",
}

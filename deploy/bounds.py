"""ClickHouse's settings for statements over many rows: bounded in memory, whatever they read."""

from __future__ import annotations

from typing import Final

#: No command takes the memory that inserts need: what is large goes on on disk, or fails.
MEMORY: Final = {
    "max_memory_usage": 1_500_000_000,
    "max_bytes_before_external_group_by": 400_000_000,
    "max_bytes_before_external_sort": 400_000_000,
}
#: Of statements that write many rows, and read them again for the next.
WRITES: Final = {
    "async_insert": 0,
    "do_not_merge_across_partitions_select_final": 1,
    "max_partitions_per_insert_block": 0,
    **MEMORY,
}

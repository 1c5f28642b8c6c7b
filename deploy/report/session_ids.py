"""Sets of session ids between two queries: packed, and as external data, since a set may be of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.clickhouse import ClickHouse

_ID_BYTES: Final = 16
#: Conditions on the sort key are tried before other columns are read, which FINAL allows.
_SETTINGS: Final = {
    "optimize_move_to_prewhere_if_final": 1,
    "do_not_merge_across_partitions_select_final": 1,
    "max_bytes_before_external_group_by": 1_000_000_000,
}


async def read_ids(clickhouse: ClickHouse, sql: str, parameters: Mapping[str, Any]) -> bytes:
    """Return the array of UUIDs that a query answers, 16 bytes each."""
    client = await clickhouse.client()
    answer = await client.raw_query(sql, parameters=dict(parameters), fmt="RowBinary")
    length = 0
    while answer[length] & 0x80:  # the array's length, seven bits a byte
        length += 1
    return answer[length + 1 :]


def count(ids: bytes) -> int:
    """Return the number of ids."""
    return len(ids) // _ID_BYTES


async def query(
    clickhouse: ClickHouse, sql: str, parameters: Mapping[str, Any], tables: Mapping[str, bytes]
) -> list[Sequence[Any]]:
    """Run a statement that reads; each of `tables` is there with a column `id` of these ids."""
    from clickhouse_connect.driver.external import ExternalData

    external = ExternalData()
    for name, ids in tables.items():
        external.add_file(file_name=name, data=ids, fmt="RowBinary", structure="id UUID")
    result = await clickhouse.query(sql, parameters, _SETTINGS, external if tables else None)
    return list(result.result_rows)

"""Keys of sessions: numbers that the rows of `pageviews_raw` and of `session_days_raw` have in common.

Sets of them go from one query to the next as external data, since a set may be of any size.  Two sessions may have one
key: what is done with a session's key is done with all of its sessions, in both tables, so that numbers are right.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from deploy.rollups import visitors
from shared.clickhouse import ClickHouse


class Keys(NamedTuple):
    """The SQL of a row's key in `pageviews_raw`, and of one's in `session_days_raw`."""

    of_pageview: str
    of_session: str


PLAIN: Final = Keys("cityHash64(session_id)", "cityHash64(session_id)")
#: A visitor's derived sessions depend on each other, so they have one key.
DERIVED: Final = Keys(
    f"cityHash64({visitors.SHARED_BY_PAGEVIEWS})",
    f"cityHash64({visitors.SHARED_BY_SESSIONS})",
)
#: Conditions on the sort key are tried before other columns are read, which FINAL allows.
SETTINGS: Final = {
    "optimize_move_to_prewhere_if_final": 1,
    "do_not_merge_across_partitions_select_final": 1,
    "max_bytes_before_external_group_by": 1_000_000_000,
}


async def query(
    clickhouse: ClickHouse, sql: str, parameters: Mapping[str, Any], tables: Mapping[str, Iterable[int]] | None = None
) -> list[Sequence[Any]]:
    """Run a statement that reads; each of `tables` is there with a column `key` of these keys."""
    from clickhouse_connect.driver.external import ExternalData

    external = ExternalData()
    for name, keys in (tables or {}).items():
        data = array("Q", keys).tobytes()
        external.add_file(file_name=name, data=data, fmt="RowBinary", structure="key UInt64")
    result = await clickhouse.query(sql, parameters, SETTINGS, external if tables else None)
    return list(result.result_rows)

"""What is done once a day, beside the rollups: retention, and then one rewrite of each partition with erased rows."""

from __future__ import annotations

from typing import Final

from shared.clickhouse import ClickHouse

#: Kinds of work.
RETENTION: Final = "retention"
MERGING: Final = "merging"

_EVERY_S: Final = 86_400
#: By ClickHouse's clock, which may be set back: what was finished in the future is not finished.
_DUE: Final = (
    "SELECT count() = 0 FROM hitline_control.upkeep WHERE kind = {kind:String}"
    " AND finished_at BETWEEN now64(3) - toIntervalSecond({every:UInt32}) AND now64(3) + toIntervalMinute(5)"
)


async def is_due(clickhouse: ClickHouse, kind: str) -> bool:
    """Return whether it is a day ago that the work of this kind was finished, whoever did it."""
    return bool((await clickhouse.query(_DUE, {"kind": kind, "every": _EVERY_S})).result_rows[0][0])


async def finished(clickhouse: ClickHouse, kind: str) -> None:
    """Record that it is done."""
    await clickhouse.command(
        "INSERT INTO hitline_control.upkeep (kind) SELECT {kind:String}", {"kind": kind}, {"async_insert": 0}
    )

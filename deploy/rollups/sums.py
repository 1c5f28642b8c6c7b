"""The statements that write the sums of whole days which differ from what their sessions add up to.

Parameters: `run`, and the days from `first` to `last`; `in_zone` stands for a condition on the site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy.rollups.differences import DAILY_ENTRIES, DAILY_KEY, HOURLY_ENTRIES, HOURLY_KEY

_DAYS: Final = "day BETWEEN {first:Date} AND {last:Date} AND in_zone"


def _statement(table: str, key: str, entries: str, measures: Mapping[str, str]) -> str:
    """`measures`: the columns of the sums by their names in `entries`."""
    columns = ", ".join(measures.values())
    actual = ", ".join(f"sumIf({name}, actual)" for name in measures)
    stored = ", ".join(f"sumIf({name}, NOT actual)" for name in measures)
    names = ", ".join(measures)
    return f"""
    INSERT INTO hitline.{table} ({key}, run, {columns})
    WITH source AS (SELECT *, toInt8(1) AS sign FROM hitline.session_days_raw FINAL WHERE {_DAYS} AND pageviews > 0)
    SELECT {key}, {{run:UInt64}}, {actual}
    FROM
    (
        SELECT {key}, {names}, true AS actual FROM ({entries})
        UNION ALL
        SELECT {key}, {columns}, false FROM hitline.{table} FINAL WHERE {_DAYS}
    )
    GROUP BY {key} HAVING ({actual}) != ({stored})"""  # noqa: S608 - constants


STATEMENTS: Final = {
    "daily_counts_raw": _statement(
        "daily_counts_raw",
        DAILY_KEY,
        DAILY_ENTRIES,
        {"p": "pageviews", "s": "sessions", "b": "bounces", "t": "milliseconds"},
    ),
    "hourly_counts_raw": _statement(
        "hourly_counts_raw", HOURLY_KEY, HOURLY_ENTRIES, {"p": "pageviews", "s": "sessions"}
    ),
}

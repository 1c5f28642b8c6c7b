"""Corrections for sessions on several days whose parts rollups keep by themselves: all but the uncommon ones.

Hashes stand for values there: cityHash64(dimension, value).
"""

from __future__ import annotations

from typing import Final

from deploy.report.uncommon import DAYS, UNCOMMON, Uncommon

#: Kinds of bots are counted among bots, whatever else is counted.
_BOT_KINDS: Final = (
    "SELECT cityHash64('bot_kind', value) FROM hitline.daily_counts_raw"  # noqa: S608
    f" WHERE {DAYS} AND dimension = 'bot_kind' AND is_bot"
)


def parts(uncommon: Uncommon) -> str:
    """Return the query for their parts, for `corrections.of_sessions`; hashes stand for pages."""
    return f"""
        SELECT session_id, is_bot AS bot, day, toInt64(pageviews) AS of_day, of_day AS different, false AS is_changed,
               toUnixTimestamp64Milli(days.began) AS began, began + milliseconds AS ended, entry_page AS entry,
               exit_page AS exit
        {_kept(uncommon)}"""


def of_values(uncommon: Uncommon, counted: str) -> str:
    """Return the query for hashes of values and their sessions `s`: of several days with a value one counts.

    `counted`: the condition on `is_bot` of what counts.
    """
    return f"""
        SELECT hash, -toInt64(count()) AS s
        FROM
        (
            SELECT is_bot, groupArrayArray(`values`) AS every
            {_kept(uncommon)}
            GROUP BY session_id, is_bot
        )
        ARRAY JOIN arrayFilter((hash, times) -> times > 1, every, arrayEnumerateUniq(every)) AS hash
        WHERE if(hash IN ({_BOT_KINDS}), is_bot, {counted})
        GROUP BY hash"""  # noqa: S608 - constants


def _kept(uncommon: Uncommon) -> str:
    others = f"AND {uncommon.keys.of_session} NOT IN (SELECT key FROM {UNCOMMON})" if uncommon.number else ""  # noqa: S608
    return f"FROM hitline.several_days_raw AS days FINAL WHERE {DAYS} AND days.pageviews > 0 {others}"

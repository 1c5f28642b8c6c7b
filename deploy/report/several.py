"""Corrections for sessions on several days whose parts rollups keep by themselves: all but the uncommon ones.

Hashes stand for values there: cityHash64(dimension, value).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from deploy.report.corrections import PAGES
from deploy.report.kinds import BOTS, TOTALS
from deploy.report.uncommon import DAYS, UNCOMMON, Uncommon

#: Kinds of bots are counted among bots, whatever else is counted.
_BOT_KINDS: Final = (
    "SELECT cityHash64('bot_kind', value) FROM hitline.daily_counts_raw"  # noqa: S608
    f" WHERE {DAYS} AND dimension = 'bot_kind' AND is_bot"
)
_BEGAN: Final = "toUnixTimestamp64Milli(days.began)"


def of_sessions(uncommon: Uncommon, pages: Collection[str], counted: str) -> str:
    """Return the query for hashes and (p, s, b, t): each session as a whole, less its parts that the sums count.

    `pages`: some `corrections.PAGES`.  `counted`: the condition on `is_bot` of what counts.
    """
    hashes = ", ".join((_hash(TOTALS), *(page for page in PAGES if page in pages)))
    return f"""
        SELECT hash, sum(sign * n) AS p, sum(sign) AS s, sum(sign * (n = 1)) AS b, sum(sign * ms) AS t
        FROM
        (
            SELECT is_bot, -1 AS sign, toInt64(pageviews) AS n, toInt64(milliseconds) AS ms, entry_page, exit_page
            {_kept(uncommon)}
            UNION ALL
            SELECT is_bot, 1, toInt64(sum(pageviews)), max({_BEGAN} + milliseconds) - min({_BEGAN}),
                   argMin(entry_page, day), argMax(exit_page, day)
            {_kept(uncommon)}
            GROUP BY session_id, is_bot
        )
        ARRAY JOIN arrayConcat(if(is_bot, [{_hash(BOTS)}], []), if({counted}, [{hashes}], [])) AS hash
        GROUP BY hash"""  # noqa: S608 - constants


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


def _hash(kind: str) -> str:
    return f"cityHash64('{kind}', '')"


def _kept(uncommon: Uncommon) -> str:
    others = f"AND {uncommon.keys.of_session} NOT IN (SELECT key FROM {UNCOMMON})" if uncommon.number else ""  # noqa: S608
    return f"FROM hitline.several_days_raw AS days FINAL WHERE {DAYS} AND days.pageviews > 0 {others}"

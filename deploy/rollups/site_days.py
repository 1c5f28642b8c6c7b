"""The statements that keep each site's first and last day in the rollups, so that `freshness` reads a row a site.

Each can be done any number of times, after the sums by day are written.  Parameter: `run`.
"""

from __future__ import annotations

from typing import Final

from deploy.rollups.changes import CHANGES

_COUNTED: Final = "hitline.daily_counts_raw FINAL WHERE dimension = '' AND pageviews > 0"
_KNOWN: Final = "hitline.site_days_raw FINAL WHERE first_day <= last_day"


def _written(days: str, sites: str) -> str:
    """Return the statement that writes the rows of `sites`; `days`: the query for days that they have.

    A site without any gets a row that begins after it ends.
    """
    return f"""
    INSERT INTO hitline.site_days_raw (site_id, first_day, last_day, run)
    SELECT site_id, ifNull(min(day), toDate('2149-06-06')), ifNull(max(day), toDate('1970-01-01')), {{run:UInt64}}
    FROM (SELECT site_id, toNullable(day) AS day FROM ({days}) UNION ALL SELECT site_id, NULL FROM ({sites}))
    GROUP BY site_id"""  # noqa: S608 - constants


def _after(changed: str) -> str:
    """Return the statement for sites of which some days have changed; `changed`: the query for these.

    Only where the first or the last day is one of them and is gone, all of the site's are looked at.
    """
    left = f"SELECT site_id, day FROM {_COUNTED} AND (site_id, day) IN ({changed})"  # noqa: S608
    gone = f"SELECT site_id, day FROM ({changed}) WHERE (site_id, day) NOT IN ({left})"  # noqa: S608
    is_gone = f"(site_id, first_day) IN ({gone}) OR (site_id, last_day) IN ({gone})"
    at_an_end = f"SELECT site_id FROM {_KNOWN} AND ({is_gone})"  # noqa: S608
    days = f"""
        SELECT site_id, day FROM {_COUNTED} AND ((site_id, day) IN ({changed}) OR site_id IN ({at_an_end}))
        UNION ALL
        SELECT site_id, arrayJoin([first_day, last_day]) AS day FROM {_KNOWN}
        AND site_id IN (SELECT site_id FROM ({changed})) AND site_id NOT IN ({at_an_end})"""  # noqa: S608
    return _written(days, f"SELECT site_id FROM ({changed})")  # noqa: S608


#: After a run's changes.
OF_CHANGES: Final = _after(f"SELECT DISTINCT site_id, day FROM {CHANGES} AND abs(sign) = 1")  # noqa: S608
#: After sums were mended on the days from `first` to `last`.
OF_MENDED: Final = _after(
    "SELECT DISTINCT site_id, day FROM hitline.daily_counts_raw"
    " WHERE run = {run:UInt64} AND dimension = '' AND day BETWEEN {first:Date} AND {last:Date}"
)
#: Of all sites, where a run of a version without this table came before.
OF_ALL: Final = _written(f"SELECT site_id, day FROM {_COUNTED}", f"SELECT site_id FROM {_KNOWN}")  # noqa: S608

_EXPIRED: Final = (
    "SELECT site_id FROM hitline.site_days_raw AS known FINAL INNER JOIN"
    " (SELECT site_id, first_day AS kept FROM hitline_control.retention_cutoffs WHERE run = {cutoffs:UInt64}) AS cutoff"
    " USING (site_id) WHERE first_day <= last_day AND first_day < kept"
)
#: Before retention takes the days that have expired by the cut-offs of the run `cutoffs`: what is left then.
OF_EXPIRED: Final = _written(
    f"SELECT site_id, day FROM (SELECT site_id, day FROM {_COUNTED} AND site_id IN ({_EXPIRED})) AS counted INNER JOIN"  # noqa: S608
    " (SELECT site_id, first_day AS kept FROM hitline_control.retention_cutoffs WHERE run = {cutoffs:UInt64}) AS cutoff"
    " USING (site_id) WHERE day >= kept",
    _EXPIRED,
)

"""The statements that fold days of `hitline.outcomes_raw`.

Two kinds of rows stand for what was folded, both with versions from `FOLDED` on, which no row of a worker reaches:
sums, which have no message, and markers: a message's key with empty arrays, which replaces the message's row.  Both
come with one insert of one block into one partition, so a reader sees either all of them or none.
"""

from __future__ import annotations

from typing import Final

#: Versions of sums and markers begin here; those of messages are microseconds since the epoch, or a little more.
FOLDED: Final = 1 << 63
#: Sums in one row.  They are in the order of minutes, so that a row has few of these.
_IN_ROW: Final = 4_096
_NIL: Final = "toUUID('00000000-0000-0000-0000-000000000000')"

#: A message's row that can be folded.  One with a dead letter, and the replay of one, stay as they are for good: a
#: letter lives for as long as somebody keeps it, and its replay takes back exactly what was counted of it.
_OF_MESSAGE: Final = f"version < {FOLDED} AND part = 0 AND empty(dead_positions) AND NOT has(outcomes, 'dead_lettered')"
_MARKER: Final = f"version >= {FOLDED} AND empty(minutes)"

#: What all statements of `fold` contain, and no other insert.
INTO: Final = "INSERT INTO hitline.outcomes_raw (day, batch_id, part, minutes"

#: Months (YYYYMM) before `before` that seem to have messages to fold, last counted before the version `counted`, or
#: markers to delete.  Without FINAL, as it is asked often: what this reads of a folded month is a few numbers.
MONTHS: Final = f"""
    SELECT toYYYYMM(day) AS month, countIf({_OF_MESSAGE}), countIf({_MARKER}) FROM hitline.outcomes_raw
    WHERE day < {{before:Date}} AND (version < {{counted:UInt64}} OR {_MARKER}) GROUP BY month ORDER BY month"""  # noqa: S608
#: Days of a month and their messages to fold.
DUE: Final = f"""
    SELECT day, count() FROM hitline.outcomes_raw FINAL
    WHERE toYYYYMM(day) = {{month:UInt32}} AND {_OF_MESSAGE} AND version < {{counted:UInt64}}
    GROUP BY day ORDER BY day"""  # noqa: S608
#: The latest days of which anything was counted.
DAYS: Final = """
    SELECT day FROM hitline.outcomes_raw WHERE day > {after:Date} AND day <= {today:Date}
    GROUP BY day ORDER BY day DESC LIMIT {days:UInt32}"""


def fold(held: str) -> str:
    """Return the statement that folds the messages of `first_day` to `last_day`, of one month, by the day.

    Only those whose batch ids are from `first` to `last`.

    It reads its rows once, so that sums and markers are of the same rows whatever is written meanwhile.  Parameters
    besides these: `counted` as for `DUE`, the `version` of what is written, an `id` that sums get theirs from, and
    those of `held`, the condition without which nothing is written.
    """
    keyed = "(toUInt8(1), day, batch_id, toDateTime(0, 'UTC'), {nil}, {nil}, toLowCardinality(''), toInt32(0))"
    entry = "(m, s, c, o, n) -> (toUInt8(0), day, {nil}, m, s, c, o, n)"
    counted = f"arrayMap({entry}, minutes, sites, clients, outcomes, counts)"
    entries = f"arrayPushFront({counted}, {keyed})".format(nil=_NIL)
    return f"""
    {INTO}, sites, clients, outcomes, counts, version)
    SELECT day, if(marker, message, reinterpretAsUUID(sipHash128({{id:UUID}}, day, row))), 0,
           groupArrayIf(minute, NOT marker), groupArrayIf(site, NOT marker), groupArrayIf(client, NOT marker),
           groupArrayIf(outcome, NOT marker), groupArrayIf(toInt32(number), NOT marker), {{version:UInt64}}
    FROM
    (
        SELECT *, if(marker, 0, intDiv(row_number() OVER
                  (PARTITION BY marker, day ORDER BY minute, site, client, outcome) - 1, {_IN_ROW})) AS row
        FROM
        (
            SELECT entry.1 AS marker, entry.2 AS day, entry.3 AS message, entry.4 AS minute, entry.5 AS site,
                   entry.6 AS client, entry.7 AS outcome, sum(entry.8) AS number
            FROM
            (
                SELECT arrayJoin({entries}) AS entry
                FROM hitline.outcomes_raw FINAL
                WHERE day BETWEEN {{first_day:Date}} AND {{last_day:Date}}
                  AND batch_id >= {{first:UUID}} AND batch_id <= {{last:UUID}}
                  AND {_OF_MESSAGE} AND version < {{counted:UInt64}} AND {held}
            )
            GROUP BY marker, day, message, minute, site, client, outcome
            HAVING marker OR number != 0
        )
    )
    GROUP BY marker, day, message, row"""  # noqa: S608 - constants


#: Rows of a month, and keys of these: equal when no row stands behind another.
ROWS: Final = "SELECT count(), max(version) FROM hitline.outcomes_raw WHERE toYYYYMM(day) = {month:UInt32}"
KEYS: Final = "SELECT count() FROM hitline.outcomes_raw FINAL WHERE toYYYYMM(day) = {month:UInt32}"
#: Takes the markers of a month off the disk, up to a version.
UNMARK: Final = (
    f"ALTER TABLE hitline.outcomes_raw DELETE WHERE toYYYYMM(day) = {{month:UInt32}} AND {_MARKER}"
    " AND version <= {version:UInt64}"
)


def merge(month: int) -> str:
    """Return the statement that makes one part of a month (YYYYMM): markers then have replaced what they stand for."""
    return f"OPTIMIZE TABLE hitline.outcomes_raw PARTITION {month:d} FINAL"

"""Shares of the sessions that are due, so that no statement computes more than memory holds.

A share is a run of places: days, and within a day the order of session ids, which is the order that `session_days_raw`
has.  So what the sessions of a share were counted with lies together and is read once.  Of sessions chosen by a hash,
some are in each granule of a day: every share would read the day, and a day of millions has many shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

#: Rows, of pageviews mostly, whose sessions are computed by one statement.
ROWS: Final = 250_000
#: Ids of random bits are distinguished within a day by the first of these, in the order in which ClickHouse sorts them;
#: two of the 12 are the same in all UUIDs.
_BITS: Final = 12
_LAST: Final = (1 << 32) - 1
_EPOCH: Final = date(1970, 1, 1)
_LAST_DAY: Final = date(2149, 6, 6)


class Share(NamedTuple):
    """Places from `first` to `last`, both included; where one place has too much, `part` of `parts` by a hash."""

    first: int
    last: int
    part: int
    parts: int

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of `condition` and of `near`."""
        first_day, last_day = (min(_EPOCH + timedelta(place >> _BITS), _LAST_DAY) for place in (self.first, self.last))
        return {
            "first_place": self.first,
            "last_place": self.last,
            "part": self.part,
            "parts": self.parts,
            "day_of_first": first_day,
            "day_of_last": last_day,
            "day_before": max(first_day - timedelta(1), _EPOCH),
            "day_after": min(last_day + timedelta(1), _LAST_DAY),
            "first_bits": self.first % (1 << _BITS) if first_day == last_day else 0,
            "last_bits": self.last % (1 << _BITS) if first_day == last_day else (1 << _BITS) - 1,
        }


EVERYTHING: Final = Share(0, _LAST, 0, 1)


def condition(day: str, id: str) -> str:
    """Return the condition that something is in a share: `day` and `id` as for `place`."""
    return (
        f"{day} BETWEEN {{day_of_first:Date}} AND {{day_of_last:Date}}"
        f" AND {_place(day, id)} BETWEEN {{first_place:UInt32}} AND {{last_place:UInt32}}"
        f" AND cityHash64({id}) % {{parts:UInt32}} = {{part:UInt32}}"
    )


def near(day: str, id: str) -> str:
    """Return a condition that holds for all of a share, and is quick where a list has to be read for each.

    A `day` may be one before or after that in the share.
    """
    return (
        f"{day} BETWEEN {{day_before:Date}} AND {{day_after:Date}}"
        f" AND bitShiftRight({id}, {128 - _BITS}) BETWEEN {{first_bits:UInt16}} AND {{last_bits:UInt16}}"
    )


def plan(selects: Iterable[str]) -> str:
    """Return the query that `shares` takes the answer of: the last place of each share, and its number of rows.

    `selects`: queries for a `day` and an `id` a row.  A place is not divided, so the last may make a share too large.
    """
    place = _place("day", "id")
    places = f"SELECT {place} AS place, count() AS number FROM ({' UNION ALL '.join(selects)}) GROUP BY place"  # noqa: S608
    return f"""
        SELECT max(place), sum(number) FROM
        (
            SELECT place, number, intDiv(sum(number) OVER (ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING
                                                           AND CURRENT ROW) - 1, {ROWS * 9 // 10}) AS share
            FROM ({places})
        )
        GROUP BY share ORDER BY share"""  # noqa: S608 - constants


def shares(planned: Iterable[tuple[int, int]]) -> Iterator[Share]:
    """Yield shares for what `plan` answers; every place is in one, also if something appears there meanwhile."""
    ends = list(planned) or [(_LAST, 0)]
    ends[-1] = (_LAST, ends[-1][1])
    first = 0
    for last, number in ends:
        parts = max(1, -(-number // ROWS))
        for part in range(parts):
            yield Share(first, last, part, parts)
        first = last + 1


def _place(day: str, id: str) -> str:
    """Return the place of something of a `day` with an `id`, a session's or a visitor's as UInt128."""
    return f"toUInt32(toUInt16({day}) * {1 << _BITS} + toUInt16(bitShiftRight({id}, {128 - _BITS})))"

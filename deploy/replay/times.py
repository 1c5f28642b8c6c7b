"""Times of access logs, to milliseconds since the epoch.  What can't be read raises `Malformed`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from deploy.replay.entry import Malformed

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
#: Common log format, and HAProxy's, which has milliseconds and no zone.
_CLF: Final = re.compile(
    r"(\d{1,2})/([A-Za-z]{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?: ([+-]\d{4}))?", re.ASCII
)
_ISO: Final = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))? ?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)
_NUMBER: Final = re.compile(r"\d{9,19}(?:\.\d+)?", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
#: A local time an hour later than its predecessor is not the repeated hour at the end of summer time.
_SLACK_MS: Final = 10 * 60 * 1000

#: Turns the text of a time into milliseconds.
Clock = Callable[[str], int]


class LocalClock:
    """Reads times; those that name no zone are of `zone`.

    In the hour that comes twice when summer time ends, a time that would lie before its predecessor is of the second
    pass.  `last_ms` is that predecessor, kept with a checkpoint.
    """

    def __init__(self, zone: tzinfo = UTC) -> None:
        self.zone = zone
        self.last_ms = 0

    def __call__(self, text: str) -> int:
        """Return the milliseconds of a time in any of the spellings that access logs use."""
        try:
            found = _read(text, self.zone)
        except (ValueError, OverflowError, KeyError):
            raise Malformed("the time can't be read") from None
        early, late = found
        chosen = late if early < self.last_ms - _SLACK_MS <= late else early
        self.last_ms = chosen
        return chosen


@lru_cache(maxsize=4096)
def _read(text: str, zone: tzinfo) -> tuple[int, int]:
    """Return the moments that a time may mean: two equal ones but for the hour that comes twice."""
    if match := _CLF.fullmatch(text):
        day, month, year, hour, minute, second, fraction, offset = match.groups()
        parts = (int(year), _MONTHS[month.lower()], int(day), int(hour), int(minute))
    elif match := _ISO.fullmatch(text):
        year, month, day, hour, minute, second, fraction, offset = match.groups()
        parts = (int(year), int(month), int(day), int(hour), int(minute))
    elif _NUMBER.fullmatch(text):
        moment = _of_number(text)
        return moment, moment
    else:
        raise ValueError(text)
    leap = 1000 if second == "60" else 0  # a leap second is counted as the first moment after it
    extra = leap + (int(fraction[:3].ljust(3, "0")) if fraction and not leap else 0)
    if int(year) < 1971:
        raise ValueError("before the Web")
    local = datetime(*parts, 59 if leap else int(second))
    if offset:
        moment = _since_epoch(datetime.fromisoformat(f"{local.isoformat()}{offset.upper()}")) + extra
        return moment, moment
    both = [_since_epoch(local.replace(tzinfo=zone, fold=fold)) + extra for fold in (0, 1)]
    return (both[0], both[1]) if both[0] < both[1] else (both[0], both[0])


def _since_epoch(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // _MILLISECOND


def _of_number(text: str) -> int:
    """Return the moment of a number: seconds (also with a fraction), milli-, micro- or nanoseconds, by its length."""
    whole, _, fraction = text.partition(".")
    if len(whole) <= 11:
        return int(whole) * 1000 + int(fraction[:3].ljust(3, "0") if fraction else 0)
    for digits, divisor in ((14, 1), (17, 1000), (19, 1_000_000)):
        if len(whole) <= digits:
            return int(whole) // divisor
    raise ValueError("too long")

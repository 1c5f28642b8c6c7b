"""The queries of docs/queries.md, answered in Python from the pageviews themselves."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from tests.deploy.rollups.visits import Row

Answer = list[tuple[Any, ...]]
_LIMIT = 20
_FUNNEL = timedelta(days=1)


@dataclass
class Session:
    """A session's pageviews, in order."""

    rows: list[Row]

    @property
    def bounced(self) -> bool:
        return len(self.rows) == 1

    @property
    def seconds(self) -> float:
        return (at(self.rows[-1]) - at(self.rows[0])).total_seconds()


def at(row: Row) -> datetime:
    return datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)


def order(row: Row) -> tuple[datetime, int]:
    return at(row), uuid.UUID(row["page_id"]).int


class Asked:
    """One site's pageviews, each once, and the period that is asked about (days of the site, both included)."""

    def __init__(self, rows: Iterable[Row], zone: str, first: date, last: date) -> None:
        self.all = list(rows)
        self.zone, self.first, self.last = ZoneInfo(zone), first, last
        self.people = [row for row in self.all if not row["is_bot"] and first <= self.day(row) <= last]
        self.bots = [row for row in self.all if row["is_bot"] and first <= self.day(row) <= last]

    def local(self, row: Row) -> datetime:
        return at(row).astimezone(self.zone)

    def day(self, row: Row) -> date:
        return self.local(row).date()

    def hour(self, row: Row) -> str:
        """When the hour of the site's clock began, in UTC."""
        local = self.local(row)
        began = at(row) - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return began.strftime("%Y-%m-%d %H:%M:%S")

    def whole_sessions(self) -> list[Session]:
        """Return the people's sessions with a pageview in the period, with those outside of it."""
        ids = {row["session_id"] for row in self.people}
        return sessions([row for row in self.all if not row["is_bot"] and row["session_id"] in ids])

    def daily_sessions(self) -> list[tuple[date, Session]]:
        """Return the day's part of each session, for each day."""
        found: dict[date, list[Row]] = defaultdict(list)
        for row in self.people:
            found[self.day(row)].append(row)
        return [(day, session) for day, rows in found.items() for session in sessions(rows)]


def sessions(rows: Iterable[Row]) -> list[Session]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["session_id"]].append(row)
    return [Session(sorted(each, key=order)) for each in found.values()]


@dataclass
class Rounded:
    """A number that equals what it is when rounded, halves to either side; None: there is none."""

    value: float | None
    digits: int

    def __eq__(self, other: object) -> bool:
        if self.value is None or not isinstance(other, (int, float)):
            return self.value is None and other is None
        return abs(self.value - other) <= 0.5000001 * 10**-self.digits


def mean(numbers: Iterable[float], digits: int) -> Rounded:
    found = [float(number) for number in numbers]
    return Rounded(sum(found) / len(found) if found else None, digits)


def grouped(rows: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def ranked(counts: dict[Any, Any], limit: int | None = _LIMIT) -> list[Any]:
    """Return the keys by their number, the largest first, then in the order of their bytes."""

    def in_bytes(key: Any) -> list[Any]:
        parts = key if isinstance(key, tuple) else (key,)
        return [part.encode() if isinstance(part, str) else part for part in parts]

    return sorted(counts, key=lambda key: (-counts[key], in_bytes(key)))[:limit]


def counted(rows: Iterable[Row], key: Callable[[Row], Any], limit: int | None = _LIMIT) -> Answer:
    counts = Counter(key(row) for row in rows)
    return [((*key, counts[key]) if isinstance(key, tuple) else (key, counts[key])) for key in ranked(counts, limit)]


def ids(rows: Iterable[Row]) -> int:
    return len({row["session_id"] for row in rows})


def buckets(asked: Asked, key: Callable[[Row], Any]) -> Answer:
    found = grouped(asked.people, key)
    return [(str(bucket), len(found[bucket]), ids(found[bucket])) for bucket in sorted(found)]


def before(asked: Asked) -> Answer:
    days = (asked.last - asked.first).days + 1
    start = asked.first - timedelta(days)
    rows = [row for row in asked.all if not row["is_bot"] and start <= asked.day(row) < asked.first]
    change = 100 * (len(asked.people) / len(rows) - 1) if rows else None
    return [(len(asked.people), len(rows), ids(asked.people), ids(rows), Rounded(change, 1))]


def entry_pages(found: Iterable[Session]) -> Answer:
    pages = grouped(found, lambda session: session.rows[0]["path"])
    return [
        (page, len(pages[page]), mean((s.bounced for s in pages[page]), 3), mean((len(s.rows) for s in pages[page]), 2))
        for page in ranked({page: len(some) for page, some in pages.items()})
    ]


def exit_pages(found: Iterable[Session]) -> Answer:
    return counted([session.rows[-1] for session in found], lambda row: row["path"])


def lengths(found: Iterable[tuple[date, Session]]) -> Answer:
    days = grouped(found, lambda pair: pair[0])
    answer = []
    for day in sorted(days):
        some = [session for _, session in days[day]]
        longer = [session.seconds for session in some if not session.bounced]
        rates = mean((s.bounced for s in some), 3), mean((s.seconds for s in some), 0), mean(longer, 0)
        answer.append((str(day), len(some), *rates))
    return answer


def campaigns(asked: Asked) -> Answer:
    names = ("utm_source", "utm_medium", "utm_campaign")
    some = [session for session in asked.whole_sessions() if any(session.rows[0][name] for name in names[::2])]
    found = grouped(some, lambda session: tuple(session.rows[0][name] for name in names))
    return [
        (*key, len(found[key]), sum(len(s.rows) for s in found[key]), mean((s.bounced for s in found[key]), 3))
        for key in ranked({key: len(some) for key, some in found.items()})
    ]


def place(row: Row) -> str:
    return f"{row['country']}/{row['region']}/{row['city']}"


def devices(asked: Asked) -> Answer:
    return [
        (kind, *line) for kind in ("browser", "device", "os") for line in counted(asked.people, itemgetter(kind), None)
    ]


def screens(asked: Asked) -> Answer:
    found = grouped(
        [row for row in asked.people if row["screen_width"]], lambda row: (row["screen_width"], row["screen_height"])
    )
    counts = {size: ids(rows) for size, rows in found.items()}
    return [(*size, counts[size]) for size in ranked(counts)]


def steps_of(session: Session) -> int:
    """Return how far the session got: each step at or after the one before, all within a day of the first.

    `windowFunnel` takes what happens in the same millisecond in the order of the steps.
    """
    wanted = (lambda path: path == "/", lambda path: path.startswith("/a"), lambda path: path.startswith("/b"))
    seen = sorted((at(row), step) for row in session.rows for step, fits in enumerate(wanted) if fits(row["path"]))
    best = 0
    for number, (start, step) in enumerate(seen):
        reached = 0 if step else 1
        for moment, later in seen[number + 1 :] if reached else ():
            if later == reached and moment - start <= _FUNNEL:
                reached += 1
        best = max(best, reached)
    return best


def next_pages(asked: Asked) -> Answer:
    found: Counter[str] = Counter()
    for session in sessions(asked.people):
        paths = [row["path"] for row in session.rows]
        found.update(after for path, after in zip(paths, [*paths[1:], "(exit)"], strict=True) if path == "/")
    return [(page, found[page]) for page in ranked(found)]


def new_pages(asked: Asked) -> Answer:
    until = [row for row in asked.all if not row["is_bot"] and asked.day(row) <= asked.last]
    found = {
        path: rows for path, rows in grouped(until, lambda row: row["path"]).items()
        if min(asked.day(row) for row in rows) >= asked.first
    }  # fmt: skip
    return [
        (path, min(row["timestamp"] for row in found[path]), len(found[path]))
        for path in ranked({path: len(rows) for path, rows in found.items()})
    ]


def referrers(asked: Asked) -> Answer:
    return counted(
        [row for row in asked.people if row["referrer_host"] not in ("", row["hostname"])],
        lambda row: row["referrer_host"],
    )


def weekdays(asked: Asked) -> Answer:
    found = Counter((asked.local(row).isoweekday(), asked.local(row).hour) for row in asked.people)
    return [(*key, found[key]) for key in sorted(found)]


def beginnings(asked: Asked) -> Answer:
    return counted([session.rows[0] for session in sessions(asked.people)], lambda row: (row["channel"], row["source"]))


def ways_out(found: Iterable[Session]) -> Answer:
    seen: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for session in found:
        seen.update({row["path"] for row in session.rows})
        left[session.rows[-1]["path"]] += 1
    pages = ranked({page: left[page] for page in seen})
    return [(page, left[page], seen[page], Rounded(left[page] / seen[page], 3)) for page in pages]


#: The number of a query → its answer.  20 is not about pageviews.
ANSWERS: dict[int, Callable[[Asked], Answer]] = {
    1: lambda asked: [(len(asked.people), ids(asked.people))],
    2: lambda asked: buckets(asked, asked.day),
    3: lambda asked: buckets(asked, asked.hour),
    4: weekdays,
    5: before,
    6: lambda asked: counted(asked.people, lambda row: row["path"]),
    7: lambda asked: entry_pages(asked.whole_sessions()),
    8: lambda asked: exit_pages(asked.whole_sessions()),
    9: lambda asked: lengths((asked.day(session.rows[0]), session) for session in asked.whole_sessions()),
    10: referrers,
    11: campaigns,
    12: lambda asked: counted(asked.people, lambda row: row["country"], None),
    13: lambda asked: counted([row for row in asked.people if row["city"]], place),
    14: devices,
    15: screens,
    16: lambda asked: sorted(Counter(map(steps_of, sessions(asked.people))).items()),
    17: next_pages,
    18: new_pages,
    19: lambda asked: counted(asked.bots, lambda row: row["provider"]),
    21: lambda asked: counted([row for row in asked.people if row["source"]], lambda row: row["source"]),
    22: lambda asked: counted(
        [row for row in asked.people if row["channel"] not in ("", "direct")], lambda row: row["channel"], None
    ),
    23: beginnings,
    24: lambda asked: counted(asked.bots, lambda row: row["bot_kind"], None),
    25: lambda asked: ways_out(sessions(asked.people)),
}
#: What a rollup answers that counts sessions by day.
BY_DAY: dict[int, Callable[[Asked], Answer]] = {
    7: lambda asked: entry_pages(session for _, session in asked.daily_sessions()),
    8: lambda asked: exit_pages(session for _, session in asked.daily_sessions()),
    9: lambda asked: lengths(asked.daily_sessions()),
    25: lambda asked: ways_out(session for _, session in asked.daily_sessions()),
}

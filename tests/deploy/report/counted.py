"""What a report must say, counted in Python from the pageviews themselves."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from deploy.report.rankings import RANKINGS
from tests.deploy.rollups.visits import Row, at, values

LEFT_OUT = {"path": (), "entry_page": (), "exit_page": (), "channel": ("", "direct")}


class Days:
    """The pageviews of one site, each once, on the days from `first` to `last` of its calendar."""

    def __init__(self, rows: Iterable[Row], zone: str, first: date, last: date) -> None:
        self.zone, self.first, self.last = ZoneInfo(zone), first, last
        self.rows = [row for row in rows if first <= self.local(row).date() <= last]

    def local(self, row: Row) -> datetime:
        return at(row).astimezone(self.zone)

    def before(self, rows: Iterable[Row]) -> Days:
        length = self.last - self.first + timedelta(1)
        return Days(rows, self.zone.key, self.first - length, self.first - timedelta(1))

    def totals(self, is_counted: Callable[[Row], bool]) -> tuple[int, int, int, int]:
        """Return pageviews, sessions, bounces and milliseconds."""
        sessions = self._sessions(is_counted)
        lengths = [(at(rows[-1]) - at(rows[0])) // timedelta(milliseconds=1) for rows in sessions]
        return sum(map(len, sessions)), len(sessions), sum(len(rows) == 1 for rows in sessions), sum(lengths)

    def series(self, is_counted: Callable[[Row], bool]) -> dict[str, tuple[int, int]]:
        form = "%Y-%m-%d %H" if (self.last - self.first).days < 2 else "%Y-%m-%d"
        return dict(self._by(lambda row: self.local(row).strftime(form), filter(is_counted, self.rows)))

    def ranking(self, dimension: str, is_counted: Callable[[Row], bool]) -> list[tuple[str, int, int]]:
        if dimension in ("entry_page", "exit_page"):
            place = 0 if dimension == "entry_page" else -1
            found = self._pages(self._sessions(is_counted), place)
        elif dimension == "bot_kind":
            found = self._by(lambda row: values(row)[dimension], [row for row in self.rows if row["is_bot"]])
        else:
            found = self._by(lambda row: values(row)[dimension], filter(is_counted, self.rows))
        out = LEFT_OUT.get(dimension, ("",))
        lines = [(value, *numbers) for value, numbers in found.items() if value not in out]
        return sorted(lines, key=lambda line: (-line[1], line[0].encode()))

    def rankings(self, is_counted: Callable[[Row], bool]) -> dict[str, list[tuple[str, int, int]]]:
        return {dimension: self.ranking(dimension, is_counted) for dimension in RANKINGS}

    def _sessions(self, is_counted: Callable[[Row], bool]) -> list[list[Row]]:
        found: dict[Any, list[Row]] = defaultdict(list)
        for row in filter(is_counted, self.rows):
            found[row["session_id"], row["is_bot"]].append(row)
        return [sorted(rows, key=lambda row: (at(row), uuid.UUID(row["page_id"]).int)) for rows in found.values()]

    @staticmethod
    def _by(key: Callable[[Row], str], rows: Iterable[Row]) -> dict[str, tuple[int, int]]:
        views: Counter[str] = Counter()
        sessions: dict[str, set[Any]] = defaultdict(set)
        for row in rows:
            views[key(row)] += 1
            sessions[key(row)].add((row["session_id"], row["is_bot"]))
        return {value: (number, len(sessions[value])) for value, number in views.items()}

    @staticmethod
    def _pages(sessions: Iterable[list[Row]], place: int) -> dict[str, tuple[int, int]]:
        views: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for rows in sessions:
            views[rows[place]["path"]] += len(rows)
            counts[rows[place]["path"]] += 1
        return {page: (number, counts[page]) for page, number in views.items()}

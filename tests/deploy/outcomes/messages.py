"""Messages whose outcomes were counted, as workers count them, over some months; and the view that must not change."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts

FIRST = date(2026, 1, 1)
SITES = [uuid.UUID(int=n) for n in range(3)]  # the first is nil: no site
CLIENTS = [uuid.UUID(int=100 + n) for n in range(3)]
OUTCOMES = ("stored", "dnt", "spam_referrer", "refused:invalid:url")

#: Everything the view says, and its sum.
VIEW = (
    "SELECT minute, site_id, client_id, outcome, pageviews FROM hitline.outcomes"
    " ORDER BY minute, site_id, client_id, outcome"
)

Row = tuple[uuid.UUID, int, date, list[tuple[datetime, uuid.UUID, uuid.UUID, str, int]], list[int], list[int], int]


def micros(day: date) -> int:
    """Return the version of a row that is written on a day."""
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1_000_000)


def make(days: int, a_day: int, seed: int = 1, first: date = FIRST) -> Iterator[Row]:
    """Yield the rows of so many days, with several minutes a message, around midnight too, and some written twice."""
    chance = random.Random(seed)
    for number in range(days):
        day = first + timedelta(number)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for _ in range(a_day):
            batch_id = uuid.UUID(int=chance.getrandbits(128), version=4)
            start = midnight + timedelta(minutes=chance.randrange(-1, 1440))
            for version in range(chance.choice((1, 1, 1, 2))):
                entries = {
                    (
                        start + timedelta(minutes=chance.randrange(2)),
                        chance.choice(SITES),
                        chance.choice(CLIENTS),
                        chance.choice(OUTCOMES),
                    )
                    for _ in range(3)
                }
                counts = [(*entry, chance.randrange(1, 9)) for entry in sorted(entries)]
                yield batch_id, 0, day, counts, [], [], micros(day) + version


def with_dead_letter(day: date, seed: int = 7) -> Iterator[Row]:
    """Yield a message of two pageviews of which one is dead-lettered, replayed the next day, and stored."""
    batch_id = uuid.UUID(int=random.Random(f"{seed} {day}").getrandbits(128), version=4)
    minute = datetime(day.year, day.month, day.day, 7, tzinfo=UTC)
    stored = minute, SITES[1], CLIENTS[0], "stored"
    dead = minute, SITES[0], CLIENTS[0], "dead_lettered"
    yield batch_id, 0, day, [(*stored, 1), (*dead, 1)], [1], [2], micros(day)
    yield batch_id, 2, day, [(*stored, 1), (*dead, -1)], [], [], micros(day + timedelta(1))


def insert(clickhouse: ClickHouseProcess, rows: Iterator[Row] | list[Row]) -> None:
    values = []
    for batch_id, part, day, entries, positions, dead_entries, version in rows:
        arrays = [list(column) for column in zip(*entries, strict=True)] or [[]] * 5
        minutes = [int(minute.timestamp()) for minute in arrays[0]]
        sites, clients = ([str(each) for each in column] for column in arrays[1:3])
        values.append(
            f"('{batch_id}', {part}, '{day}', {minutes}, {sites}, {clients}, {arrays[3]}, {arrays[4]},"
            f" {positions}, {dead_entries}, {version})"
        )
    parts.execute(
        clickhouse,
        "INSERT INTO hitline.outcomes_raw (batch_id, part, day, minutes, sites, clients, outcomes, counts,"
        f" dead_positions, dead_entries, version) VALUES {', '.join(values)}",
    )


def view(clickhouse: ClickHouseProcess) -> str:
    return parts.execute(clickhouse, VIEW)


def rows(clickhouse: ClickHouseProcess, where: str = "1") -> int:
    return int(parts.execute(clickhouse, f"SELECT count() FROM hitline.outcomes_raw FINAL WHERE {where}"))

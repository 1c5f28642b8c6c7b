"""Asking ClickHouse the queries of docs/queries.md, of pageviews that hold what a count can stumble over."""

from __future__ import annotations

import itertools
import json
import random
import urllib.error
import urllib.request
import uuid
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import documents, parts
from tests.deploy.rollups import visits
from tests.queries_in_python import ANSWERS, BY_DAY, Answer, Asked

ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns")
SITES = {uuid.UUID(int=0xB000 + number): zone for number, zone in enumerate(ZONES)}
#: In Newfoundland the clock goes forward on 8 March and back on 1 November.
PERIODS = {"spring": (date(2026, 3, 6), date(2026, 3, 11)), "autumn": (date(2026, 10, 30), date(2026, 11, 4))}
QUERIES = documents.queries()
#: The one about outcomes, not pageviews.
OF_OUTCOMES = 20
OF_PAGEVIEWS = [query for query in QUERIES if query.number != OF_OUTCOMES]


def make_rows(site: uuid.UUID, seed: int, *, derived: bool = False) -> list[visits.Row]:
    """Make pageviews before, in and after both periods, with everything that a count can stumble over.

    `derived`: the sessions of some are; `visits.shown` tells which.
    """
    chance = random.Random(seed)
    rows = visits.make(600, seed=seed, first=datetime(2026, 3, 2, tzinfo=UTC), days=12, sites=[site])
    rows += visits.make(600, seed=seed + 50, first=datetime(2026, 10, 26, tzinfo=UTC), days=12, sites=[site])
    for row in rows:
        row["screen_width"], row["screen_height"] = chance.choice(((0, 0), (1920, 1080), (390, 844)))
        row["utm_medium"] = row["utm_source"] and chance.choice(("cpc", "email"))
        row["provider"] = chance.choice(("Net", "Öther Net"))
        row["source"], row["channel"] = chance.choice(
            (("", "direct"), ("Google", "search"), ("öther.example", "referral"))
        )
        # Of a session that goes on, some pageviews are a bot's, and not always within the same period.
        row["is_bot"] = row["is_bot"] or chance.random() < 0.05
        row["bot_kind"] = chance.choice(("search", "ai-training", "")) if row["is_bot"] else ""
    for row, following in itertools.pairwise(rows):
        if row["session_id"] == following["session_id"] and chance.random() < 0.2:
            following["timestamp"] = row["timestamp"]
    if derived:
        part = len(rows) // 8
        rows = visits.derive(rows[:part], seed) + rows[part:-part] + visits.derive(rows[-part:], seed + 1)
    for first, _ in PERIODS.values():  # a person before the period, a bot in it, under one session id
        row = next(row for row in rows if not row["is_bot"] and "visitor_id" not in row)
        ids = {"session_id": str(uuid.UUID(int=chance.getrandbits(128))), "page_id": row["page_id"]}
        rows.append({**row, **ids, "timestamp": f"{first - timedelta(3)} 12:00:00.000"})
        rows.append({**row, **ids, "timestamp": f"{first + timedelta(1)} 12:00:00.000", "is_bot": True})
    return rows


def of_last_seconds(zone: str, rows: list[visits.Row]) -> list[visits.Row]:
    """Return a pageview in the last half second of each period; each to be inserted alone, in a part of its own."""
    ends = [datetime.combine(last + timedelta(1), datetime.min.time(), ZoneInfo(zone)) for _, last in PERIODS.values()]
    return [
        {
            **next(row for row in rows if not row["is_bot"] and "visitor_id" not in row),
            "session_id": str(uuid.uuid4()),
            "page_id": str(uuid.uuid4()),
            "timestamp": f"{(end - timedelta(seconds=0.5)).astimezone(UTC):%Y-%m-%d %H:%M:%S}.500",
        }
        for end in ends
    ]


def computed(clickhouse: ClickHouseProcess) -> None:
    """Compute the rollups of what is stored."""
    parts.run_apart(partial(_roll_up, clickhouse.url))


async def _roll_up(url: str) -> None:
    client = ClickHouse(url, "hitline tests")
    await roll_up(client)
    await client.close()


def ask(clickhouse: ClickHouseProcess, sql: str, **given: Any) -> Answer:
    parameters = {f"param_{name}": str(value) for name, value in given.items()}
    request = parts.statement(clickhouse, sql, **parameters, default_format="JSONCompactEachRow")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [tuple(map(number, json.loads(line))) for line in answer.read().splitlines()]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from None


def number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value


def compare(clickhouse: ClickHouseProcess, query: documents.Query, asked: Asked, site: uuid.UUID) -> Answer:
    """Ask a query and its rollup, compare both with Python's answer, and return that."""
    given = {"site": site, "zone": asked.zone.key, "from": asked.first, "to": asked.last}
    wanted = ANSWERS[query.number](asked)
    assert ask(clickhouse, query.sql, **given) == wanted, query.title
    if query.rollup:
        by_rollup = wanted if query.equal else BY_DAY[query.number](asked)
        assert ask(clickhouse, query.rollup, **given) == by_rollup, f"{query.title}, by rollup"
    return wanted

"""docs/queries.md: each query and its rollup answer what a count in Python does, in zones that are not whole hours."""

from __future__ import annotations

import itertools
import json
import random
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import documents, parts
from tests.deploy.rollups import visits
from tests.queries_in_python import ANSWERS, BY_DAY, Answer, Asked

pytestmark = pytest.mark.processes

ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns")
SITES = {uuid.UUID(int=0xB000 + number): zone for number, zone in enumerate(ZONES)}
#: In Newfoundland the clock goes forward on 8 March and back on 1 November.
PERIODS = {"spring": (date(2026, 3, 6), date(2026, 3, 11)), "autumn": (date(2026, 10, 30), date(2026, 11, 4))}
QUERIES = documents.queries()


def make_rows(site: uuid.UUID, seed: int) -> list[visits.Row]:
    """Make pageviews before, in and after both periods, with everything that a count can stumble over."""
    chance = random.Random(seed)
    rows = visits.make(600, seed=seed, first=datetime(2026, 3, 2, tzinfo=UTC), days=12, sites=[site])
    rows += visits.make(600, seed=seed + 50, first=datetime(2026, 10, 26, tzinfo=UTC), days=12, sites=[site])
    for row in rows:
        row["screen_width"], row["screen_height"] = chance.choice(((0, 0), (1920, 1080), (390, 844)))
        row["utm_medium"] = row["utm_source"] and chance.choice(("cpc", "email"))
        row["provider"] = chance.choice(("Net", "Öther Net"))
        # Of a session that goes on, some pageviews are a bot's, and not always within the same period.
        row["is_bot"] = row["is_bot"] or chance.random() < 0.05
    for row, following in itertools.pairwise(rows):
        if row["session_id"] == following["session_id"] and chance.random() < 0.2:
            following["timestamp"] = row["timestamp"]
    for first, _ in PERIODS.values():  # a person before the period, a bot in it, under one session id
        row = next(row for row in rows if not row["is_bot"])
        ids = {"session_id": str(uuid.UUID(int=chance.getrandbits(128))), "page_id": row["page_id"]}
        rows.append({**row, **ids, "timestamp": f"{first - timedelta(3)} 12:00:00.000"})
        rows.append({**row, **ids, "timestamp": f"{first + timedelta(1)} 12:00:00.000", "is_bot": True})
    return rows


@pytest.fixture(scope="module")
def pageviews(clickhouse: ClickHouseProcess, _schema: None) -> Iterator[dict[uuid.UUID, list[visits.Row]]]:
    """Store them, some of them twice and some of them corrected, and compute rollups."""
    parts.empty_tables(clickhouse)
    visits.register(clickhouse, SITES)
    found = {}
    for number, site in enumerate(SITES):
        rows = make_rows(site, seed=number)
        stored: visits.Stored = {}
        corrected = [{**row, "path": "/corrected", "is_bot": not row["is_bot"]} for row in rows[100:130]]
        for some in (rows, rows[:200], corrected):
            visits.insert(clickhouse, some)
            visits.store(stored, some)
        found[site] = list(stored.values())
    parts.execute(
        clickhouse,
        "INSERT INTO hitline.outcomes_raw (batch_id, minutes, sites, clients, outcomes, counts) SELECT"
        f" generateUUIDv4(), [now(), now()], ['{next(iter(SITES))}', '{next(iter(SITES))}'],"
        " [generateUUIDv4(), generateUUIDv4()], ['stored', 'dnt'], [7, 2]",
    )
    parts.run_apart(partial(_roll_up, clickhouse.url))
    yield found
    parts.empty_tables(clickhouse)


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


def test_there_are_twenty() -> None:
    assert [query.number for query in QUERIES] == list(range(1, 21))
    assert {query.number for query in QUERIES if query.rollup and not query.equal} == set(BY_DAY)


@pytest.mark.parametrize("site", SITES, ids=ZONES)
@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("query", QUERIES[:19], ids=[query.title for query in QUERIES[:19]])
def test_it_answers_what_python_counts(
    clickhouse: ClickHouseProcess,
    pageviews: dict[uuid.UUID, list[visits.Row]],
    query: documents.Query,
    period: str,
    site: uuid.UUID,
) -> None:
    first, last = PERIODS[period]
    given = {"site": site, "zone": SITES[site], "from": first, "to": last}
    asked = Asked(pageviews[site], SITES[site], first, last)
    wanted = ANSWERS[query.number](asked)
    # The pages before and in spring are all there are, but for the corrected ones.
    assert wanted or query.number == 18
    assert ask(clickhouse, query.sql, **given) == wanted
    if query.rollup:
        if not query.equal:
            assert BY_DAY[query.number](asked) != wanted, "the data tell both apart"
            wanted = BY_DAY[query.number](asked)
        assert ask(clickhouse, query.rollup, **given) == wanted


def test_what_became_of_what_was_sent(clickhouse: ClickHouseProcess, pageviews: object) -> None:
    assert ask(clickhouse, QUERIES[19].sql, site=next(iter(SITES))) == [("stored", 7), ("dnt", 2)]


def test_sessions_between_refuses_a_moment(clickhouse: ClickHouseProcess, pageviews: object) -> None:
    """A moment would reach the view as its wall clock without the time zone."""
    start = "toDateTime('2026-03-06 00:00:00', 'Asia/Kolkata')"
    site = next(iter(SITES))
    with pytest.raises(AssertionError, match="from"):
        ask(
            clickhouse,
            "SELECT count() FROM hitline.sessions_between"
            f"(site = '{site}', zone = 'Asia/Kolkata', from = {start}, to = '2026-03-11')",
        )


def test_freshness(clickhouse: ClickHouseProcess, pageviews: object) -> None:
    assert [row[1] for row in ask(clickhouse, documents.named("fresh"))] == list(ZONES)

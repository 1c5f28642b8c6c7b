"""docs/analysts.md: its queries run, its rollups agree with its pageviews, and it names every column."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import documents, parts
from tests.deploy.rollups import visits

SITE = list(visits.SITES)[2]
QUERIES = documents.queries()


@pytest.fixture(scope="module")
def filled(clickhouse: ClickHouseProcess, _schema: None) -> Iterator[ClickHouseProcess]:
    """Two weeks of pageviews, some of them twice, and rollups of them."""
    parts.empty_tables(clickhouse)
    visits.register(clickhouse)
    rows = visits.make(1500, seed=11, first=datetime(2026, 3, 20, tzinfo=UTC), days=14)
    for row in rows:
        row |= {"screen_width": 1920, "screen_height": 1080}
    visits.insert(clickhouse, rows)
    visits.insert(clickhouse, rows[:200])
    parts.execute(
        clickhouse,
        "INSERT INTO hitline.outcomes_raw (batch_id, minutes, sites, clients, outcomes, counts) SELECT"
        f" generateUUIDv4(), [now(), now()], ['{SITE}', '{SITE}'], [generateUUIDv4(), generateUUIDv4()],"
        " ['stored', 'dnt'], [7, 2]",
    )
    parts.run_apart(partial(_roll_up, clickhouse.url))
    yield clickhouse
    parts.empty_tables(clickhouse)


async def _roll_up(url: str) -> None:
    client = ClickHouse(url, "hitline tests")
    await roll_up(client)
    await client.close()


def ask(clickhouse: ClickHouseProcess, sql: str) -> str:
    given = {"site": str(SITE), "zone": visits.SITES[SITE], "from": "2026-03-24", "to": "2026-04-01"}
    parameters = urllib.parse.urlencode({f"param_{name}": value for name, value in given.items()})
    request = urllib.request.Request(f"{clickhouse.url}/?{parameters}", data=sql.encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from None


def test_there_are_twenty() -> None:
    assert [query.number for query in QUERIES] == list(range(1, 21))


@pytest.mark.parametrize("query", QUERIES, ids=[query.title for query in QUERIES])
def test_a_query_runs_and_its_rollup_agrees(filled: ClickHouseProcess, query: documents.Query) -> None:
    # Pages that were never seen before are none, after four days.
    assert ask(filled, query.sql) or query.number == 18
    if query.rollup:
        rolled_up = ask(filled, query.rollup)
        assert rolled_up
        assert not query.equal or rolled_up == ask(filled, query.sql)


def test_freshness(filled: ClickHouseProcess) -> None:
    assert "Asia/Kolkata" in ask(filled, documents.named("fresh"))


@pytest.mark.parametrize(
    "view",
    ["pageviews", "sessions", "daily", "hourly", "daily_sessions", "freshness", "sites", "outcomes"],
)
def test_every_column_is_named(filled: ClickHouseProcess, view: str) -> None:
    text = documents.ANALYSTS.read_text("utf-8")
    columns = parts.execute(
        filled, f"SELECT name FROM system.columns WHERE database = 'hitline' AND table = '{view}'"
    ).split()
    assert columns
    assert not [column for column in columns if f"`{column}`" not in text]


def test_every_dimension_is_named(filled: ClickHouseProcess) -> None:
    text = documents.ANALYSTS.read_text("utf-8")
    for table in ("daily", "hourly"):
        [paragraph] = re.findall(rf"^`{table}`:.*?\n\n", text, re.MULTILINE | re.DOTALL)
        dimensions = parts.execute(filled, f"SELECT DISTINCT dimension FROM hitline.{table} FORMAT TSVRaw").split()
        assert not [dimension for dimension in dimensions if f"`{dimension}`" not in paragraph]

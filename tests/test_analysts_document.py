"""docs/analysts.md names every column and every dimension."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import documents, parts
from tests.deploy.rollups import visits

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def filled(clickhouse: ClickHouseProcess, _schema: None) -> Iterator[ClickHouseProcess]:
    """Some pageviews, and rollups of them."""
    parts.empty_tables(clickhouse)
    visits.insert(clickhouse, visits.make(20, seed=11))
    parts.run_apart(partial(_roll_up, clickhouse.url))
    yield clickhouse
    parts.empty_tables(clickhouse)


async def _roll_up(url: str) -> None:
    client = ClickHouse(url, "hitline tests")
    await roll_up(client)
    await client.close()


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

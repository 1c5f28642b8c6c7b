"""No command sends a set of sites in a statement or in a parameter: neither may be long, on a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from deploy.erasure import request
from deploy.erasure.conditions import Erasure
from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.bench import scale
from tests.deploy.cli.conftest import Hitline

pytestmark = pytest.mark.processes

MOST_BYTES = 64 << 10
#: Of one statement and its parameters: some name a site or two.
MOST_IDS = 10
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement with its parameters that this process sends, checked."""
    texts: list[str] = []

    def watched(name: str) -> Any:
        work = getattr(ClickHouse, name)

        async def run(self: ClickHouse, sql: str, parameters: Any = None, *more: Any, **named: Any) -> Any:
            text = sql if name == "insert" else f"{sql} {parameters}"
            texts.append(text)
            assert len(text.encode()) < MOST_BYTES, sql
            assert len(_ID.findall(text)) <= MOST_IDS, sql
            return await work(self, sql, parameters, *more, **named)

        return run

    for name in ("query", "command", "insert"):
        monkeypatch.setattr(ClickHouse, name, watched(name))
    yield texts
    assert len(texts) > 100


@pytest.mark.parametrize("sites", [300, pytest.param(10_000, marks=pytest.mark.full)])
async def test_every_statement_stays_short(
    tables: ClickHouseProcess, hitline: Hitline, sent: list[str], sites: int
) -> None:
    parts.execute(tables, scale.registration(sites, "1 + number % 2"))
    scale.insert(tables, scale.SITE, 0, sites, seed=3)
    hitline("rollup")
    parts.execute(tables, scale.registration(sites // 10, "1 + (number + 1) % 2"))
    hitline("rollup")
    hitline("rollup", "--all")
    hitline("site", "list")
    hitline("client", "add", "edge", "--grant", "s1.example")
    hitline("client", "list")
    hitline("report", "s1.example", "--from", scale.DAY, "--to", scale.DAY)
    hitline("reconcile", "--accepted", "0", "--site", "s1.example", expect=1)
    path = services.rows(tables, "SELECT any(path) AS path FROM hitline.pageviews")[0]["path"]
    hitline("erase", "--path", path, "--yes")
    assert "s0.example" not in " ".join(sent)
    await _many_at_once(tables, sites)
    hitline("retain", "--idle", "--dry-run", HITLINE_RETENTION_DAYS="30")
    hitline("retain", "--idle", HITLINE_RETENTION_DAYS="30")
    hitline("erase", "--list")
    assert services.count(tables) == 0
    assert services.rows(tables, "SELECT * FROM hitline.daily LIMIT 1") == []


async def _many_at_once(tables: ClickHouseProcess, sites: int) -> None:
    """An erasure of many sites, such as all that a name ever had."""
    rows = services.rows(tables, f"SELECT toString({scale.SITE}) AS id FROM numbers({sites})")
    client = ClickHouse(tables.url, "hitline tests")
    asked = Erasure(sites=tuple(UUID(row["id"]) for row in rows), time_from=scale.END - timedelta(days=9))
    try:
        there = services.count(tables)
        assert (await request.look(client, asked)).pageviews == there
        assert (await request.erase(client, asked)).pageviews == there
    finally:
        await client.close()
    scale.insert(tables, scale.SITE, 0, sites, seed=4)

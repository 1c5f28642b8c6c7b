"""What is erased is forgotten on the days of its site's clock, which may be a day before or after those of UTC."""

from __future__ import annotations

import uuid

import pytest

from deploy.erasure.conditions import Erasure
from deploy.erasure.request import erase
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups import forget
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.erasure.test_forget import TABLES, UNMERGED, count
from tests.deploy.rollups import visits

#: A zone, and a time of 10 March in UTC at which it has another day.
DAYS = {"Pacific/Pago_Pago": ("03:00:00.000", "2026-03-09"), "Pacific/Kiritimati": ("20:00:00.000", "2026-03-11")}


@pytest.mark.parametrize("set_rows", [10**6, 0], ids=["of the sessions", "of their days"])
@pytest.mark.parametrize("zone", DAYS)
def test_no_row_of_an_erased_session_is_left(
    tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch, zone: str, set_rows: int
) -> None:
    monkeypatch.setattr(forget, "SET_ROWS", set_rows)
    site = {uuid.UUID(int=0xF00): zone}
    visits.register(tables, site)
    at, day = DAYS[zone]
    row = visits.make(1, seed=91, sites=site)[0]
    row = {**row, "timestamp": f"2026-03-10 {at}", "path": "/secret"}

    async def work() -> None:
        client = ClickHouse(tables.url, "hitline tests")
        try:
            visits.insert(tables, [row])
            await roll_up(client)
            assert count(tables, f"hitline.daily WHERE day = '{day}' AND value = '/secret'")
            visits.insert(tables, [{**row, "page_id": row["session_id"]}])  # what was counted is replaced
            await roll_up(client)
            await erase(client, Erasure(session_id=uuid.UUID(row["session_id"])))
        finally:
            await client.close()

    for table in TABLES:
        parts.execute(tables, f"ALTER TABLE hitline.{table} MODIFY SETTING {' = 1, '.join(UNMERGED)} = 1")
    try:
        parts.run_apart(work)
        assert {table: count(tables, f"hitline.{table}") for table in TABLES} == dict.fromkeys(TABLES, 0)
    finally:
        for table in TABLES:
            parts.execute(tables, f"ALTER TABLE hitline.{table} RESET SETTING {', '.join(UNMERGED)}")

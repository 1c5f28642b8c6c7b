"""Thirty years of timestamps in one stream: 360 monthly partitions at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tests import parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import System

MONTHS = 360


async def test_thirty_years_in_one_stream(bare: System) -> None:
    await prove(bare, 1_800)


@pytest.mark.full
async def test_thirty_years_in_a_stream_of_200_000(bare: System) -> None:
    await prove(bare, 200_000)


async def prove(system: System, pageviews: int) -> None:
    """Every batch spans all months, the worst case for parts; compare the parts with what 10 a month would be."""
    ledger = Ledger()
    # Let messages gather, so that inserts are large: what a replay of a history looks like to workers.
    worker = await asyncio.to_thread(system.add_worker, flush_seconds="1")
    await faults.post_batches(system, faults.make_pageviews(pageviews, month_of), ledger)
    await faults.assert_exact(system, ledger, 300)
    count = int(parts.execute(system.clickhouse, f"SELECT count() {ACTIVE}"))
    most = int(
        parts.execute(system.clickhouse, f"SELECT max(n) FROM (SELECT count() AS n {ACTIVE} GROUP BY partition)")
    )
    inserts = faults.metric(worker, "hitline_insert_rows_count")
    print(f"  {pageviews} in {inserts:.0f} inserts: {count} parts in {MONTHS} partitions, at most {most} in one")
    assert int(parts.execute(system.clickhouse, f"SELECT uniqExact(partition) {ACTIVE}")) == MONTHS
    assert most <= 50
    assert "TOO_MANY" not in worker.text()
    assert not ledger.not_202
    assert services.count(system.clickhouse) == pageviews


ACTIVE = "FROM system.parts WHERE database = 'hitline' AND table = 'pageviews_raw' AND active"


def month_of(number: int) -> datetime:
    month = number % MONTHS
    return datetime(1996 + month // 12, month % 12 + 1, 1 + number // MONTHS % 28, number // 10_000 % 24, tzinfo=UTC)

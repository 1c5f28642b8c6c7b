"""`hitline reconcile` while workers run: rows that are stored and not yet counted are not reported."""

from __future__ import annotations

import asyncio

from tests import parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import System

TABLE = "ALTER TABLE hitline.outcomes_raw"


async def test_rows_that_are_about_to_be_counted_are_waited_for(bare: System) -> None:
    parts.execute(bare.clickhouse, f"{TABLE} MODIFY SETTING table_readonly = 1")
    try:
        bare.add_worker()
        await faults.post_batches(bare, faults.make_pageviews(10), Ledger())
        await asyncio.to_thread(services.wait_for, lambda: services.count(bare.clickhouse) == 10)
        gateway = f"http://127.0.0.1:{bare.gateway.admin_port}"
        asking = asyncio.create_task(
            asyncio.to_thread(services.hitline, bare.env, "reconcile", "--gateway", gateway, check=False)
        )
        await asyncio.wait([asking], timeout=4)
        assert bare.outcomes() == {}
    finally:
        parts.execute(bare.clickhouse, f"{TABLE} MODIFY SETTING table_readonly = 0")
    output = await asking
    assert output.returncode == 0, output.stderr
    assert bare.outcomes() == {"stored": 10}

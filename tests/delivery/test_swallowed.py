"""A server that was killed when it had noted an insert's token, and did not have its rows: nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from tests import parts, services
from tests.delivery import faults
from tests.delivery.faults import Gate, Ledger
from tests.services import System


async def test_a_redelivered_batch_whose_token_is_known_and_whose_rows_are_lost(bare: System) -> None:
    ledger = Ledger()
    async with Gate(bare.broker.amqp_url).running() as gate:
        worker = await asyncio.to_thread(bare.add_worker, amqp_url=gate.url)
        # Connected and consuming: what follows is one message, so one batch, now and when it is redelivered.
        await faults.post_batches(bare, faults.make_pageviews(1), ledger)
        await faults.settled(bare, ledger)
        gate.shut()  # the acknowledgement will not leave
        await faults.post_batches(bare, faults.make_pageviews(20), ledger)
        await asyncio.to_thread(services.wait_for, lambda: services.count(bare.clickhouse) == 21)
        worker.kill()
        gate.cut()
    lose_newest_part(bare)
    assert services.count(bare.clickhouse) == 1

    bare.add_worker()

    await asyncio.to_thread(services.wait_for, lambda: services.count(bare.clickhouse) == 21)
    await faults.assert_exact(bare, ledger)


def lose_newest_part(system: System) -> None:
    """Leave what a kill leaves between the note of a token and the rename of its part, a moment that can't be hit."""
    sql = "SELECT path FROM system.parts WHERE table = 'pageviews_raw' AND active ORDER BY modification_time, name"
    path = parts.execute(system.clickhouse, sql).split()[-1]
    system.clickhouse.kill()
    shutil.rmtree(Path(path))
    system.clickhouse.start()

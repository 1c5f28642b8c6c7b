"""`hitline reconcile` while workers run: rows that are stored and not yet counted are not reported."""

from __future__ import annotations

import asyncio
import json

from yarl import URL

from tests import http, parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.proxy import proxy
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


async def test_what_was_stored_after_a_503_unknown_is_allowed_for(bare: System) -> None:
    """The broker has it, and its confirm is lost; so is one whose client had gone before the answer."""
    url = URL(bare.broker.amqp_url)
    assert url.port is not None
    with proxy(url.port) as broker:
        env = {
            **bare.env,
            "HITLINE_HTTP_PORT": "0",
            "HITLINE_AMQP_URL": str(url.with_port(broker.port)),
            "HITLINE_CONFIRM_SECONDS": "1",
        }
        with services.service("gateway", env, bare.logs / "muted.log") as gateway:
            await asyncio.to_thread(services.wait_for, lambda: http.ready(gateway.admin_port))
            assert http.request(gateway.port, body=services.pageview(), token=bare.token).status == 202
            broker.mute()
            refused = http.request(gateway.port, body=services.pageview(), token=bare.token)
            assert (refused.status, refused.message[:9]) == (503, "unknown: ")
            bare.add_worker()
            await asyncio.to_thread(bare.wait_for_outcomes, 2)
            admin = f"http://127.0.0.1:{gateway.admin_port}"
            output = await asyncio.to_thread(services.hitline, bare.env, "reconcile", "--gateway", admin, "--json")
            broker.speak()
    figures = json.loads(output.stdout)
    assert {"accepted": 1, "unknown": 1, "ended": 2, "missing": 0}.items() <= figures.items()

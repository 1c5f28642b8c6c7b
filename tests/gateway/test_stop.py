"""SIGTERM: requests in flight are finished, none is cut off, and another gateway on the same port takes over."""

from __future__ import annotations

import asyncio

import pytest

from tests import load, services
from tests.services import Service, System


async def test_a_stopping_gateway_finishes_what_is_in_flight(system: System) -> None:
    ledger = load.Ledger()
    stop = asyncio.Event()

    async def poster(client: load.aiohttp.ClientSession) -> None:
        while not stop.is_set():
            await load.post(client, load.ENDPOINT, services.pageview(**services.ids()), ledger)

    other = Service("gateway", {**system.env, "HITLINE_HTTP_PORT": str(system.port)}, system.logs / "other.log")
    await asyncio.to_thread(other.start)
    try:
        async with load.session(system.port, system.token, 100) as client:
            posters = [asyncio.create_task(poster(client)) for _ in range(100)]
            await asyncio.to_thread(services.wait_for, lambda: len(ledger.accepted) > 500, 60)
            code = await asyncio.to_thread(system.gateway.stop)
            await asyncio.sleep(0.5)
            stop.set()
            await asyncio.gather(*posters)
        assert code == 0
        assert ledger.refused == []
        # No request that a gateway had begun to read was cut off: what is broken never reached one.
        expected = {each["page_id"] for each in ledger.accepted}
        await asyncio.to_thread(system.wait_for_outcomes, len(expected))
        sql = "SELECT page_id FROM hitline.pageviews"
        stored = {row["page_id"] for row in services.rows(system.clickhouse, sql)}
        assert stored - {each["page_id"] for each in ledger.unknown} == expected
        assert ledger.unknown == []
    finally:
        system.gateway.start()
        other.end()


def test_a_port_that_another_program_has_is_named(system: System) -> None:
    env = {**system.env, "HITLINE_HTTP_PORT": str(system.workers[0].admin_port)}

    with pytest.raises(RuntimeError, match="HITLINE_HTTP_PORT"):
        Service("gateway", env, system.logs / "taken.log").start()

"""Gateways and workers whose clocks are days off: nothing is dropped or refused by one clock alone, and it is said."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests import http, services
from tests import shifted as shifted_processes
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import Service, System

DAY_S = 86_400


@contextmanager
def shifted(system: System, name: str, seconds: int, **settings: str) -> Iterator[Service]:
    env = {**system.env, **{f"HITLINE_{name}": value for name, value in settings.items()}}
    service = Service(name, env, system.logs / f"shifted-{name}.log", shifted_processes.command(name, seconds))
    try:
        yield service.start()
    finally:
        service.end()


async def test_a_worker_two_days_ahead_drops_nothing_and_says_so(bare: System) -> None:
    ledger = Ledger()
    with shifted(bare, "worker", 2 * DAY_S, RETENTION_DAYS="1") as worker:
        await faults.post_batches(bare, faults.make_pageviews(560), ledger)
        await faults.assert_exact(bare, ledger)
        assert round(faults.metric(worker, "hitline_clock_ahead_seconds", '{clock="clickhouse"}'), -2) == 2 * DAY_S
    assert "172800 s ahead of ClickHouse's: set all clocks right (NTP); until then what is too old" in worker.text()


async def test_what_is_too_old_by_all_clocks_is_dropped(bare: System) -> None:
    bare.add_worker(retention_days="1")
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1, minutes=1)
    await faults.post_batches(bare, faults.make_pageviews(5, lambda _: old), Ledger())
    assert await asyncio.to_thread(bare.wait_for_outcomes, 5) == {"too_old": 5}


@pytest.mark.parametrize("days", [2, -2])
async def test_a_gateway_days_off_takes_what_is_right_and_dates_no_outcome_in_the_future(
    bare: System, days: int
) -> None:
    worker, ledger = bare.add_worker(retention_days="1"), Ledger()
    with shifted(bare, "gateway", days * DAY_S) as gateway:
        await asyncio.to_thread(services.wait_for, lambda: http.ready(gateway.admin_port))
        await asyncio.to_thread(services.wait_for, lambda: "of ClickHouse's: set all" in gateway.text() or days < 0)
        await faults.post_batches(replace(bare, gateway=gateway), faults.make_pageviews(200), ledger)
        await faults.assert_exact(bare, ledger)
    assert len(ledger.accepted) == 200
    (ahead,) = services.rows(bare.clickhouse, "SELECT countIf(minute > now()) AS n FROM hitline.outcomes")
    assert int(ahead["n"]) == 0
    assert ("behind a gateway's" in worker.text()) is (days > 0)

"""What operators, analysts and proxies do to a running instance: a ledger by id of each, and what the log says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from shared import queue
from tests import http, parts, services
from tests.delivery import faults, links
from tests.delivery.faults import Ledger
from tests.delivery.links import HttpLink
from tests.http import BATCH_ENDPOINT, ENDPOINT
from tests.services import Service, System

TABLE = "ALTER TABLE hitline.pageviews_raw"


def says(process: Service, text: str) -> bool:
    return text in process.text()


@contextlib.asynccontextmanager
async def load(system: System, ledger: Ledger, per_second: float = 100) -> AsyncIterator[None]:
    """Post at a steady rate while the block runs."""
    done = asyncio.Event()
    posting = asyncio.create_task(faults.stream(system, ledger, done, 0, per_second))
    try:
        yield
    finally:
        done.set()
        await posting


async def more_accepted(ledger: Ledger) -> None:
    accepted = len(ledger.accepted)
    await wait_for(lambda: len(ledger.accepted) > accepted + 100)


async def wait_for(look: Callable[[], object], timeout_s: float = 60.0) -> None:
    await asyncio.to_thread(services.wait_for, look, timeout_s)


@pytest.fixture
def rotated(stack: parts.Stack, tmp_path: Path) -> Iterator[System]:
    """A system whose user of the broker is `rotated`, with the password `first`."""
    stack.broker.ctl("add_user", "rotated", "first")
    stack.broker.ctl("set_permissions", "rotated", ".*", ".*", ".*")
    try:
        url = f"amqp://rotated:first@{stack.broker.place}/"
        with services.system(stack.clickhouse, stack.broker, tmp_path, amqp_url=url) as running:
            yield running
    finally:
        stack.broker.ctl("delete_user", "rotated")


async def test_the_brokers_password_is_changed_under_load(rotated: System) -> None:
    """Connections go on until they are closed; then each process says what to check, and needs a restart with it."""
    gateway, worker, ledger = rotated.gateway, rotated.workers[0], Ledger()
    ctl = rotated.broker.ctl
    async with load(rotated, ledger):
        await asyncio.to_thread(ctl, "change_password", "rotated", "second")
        await asyncio.to_thread(ctl, "close_all_connections", "a test")
        for process in (gateway, worker):
            await wait_for(partial(says, process, "refuses the user or password: check HITLINE_AMQP_URL"))
        refused = await asyncio.to_thread(rotated.post)
        assert (refused.status, refused.message) == (503, "not taken: the queue is unreachable; repeat later")
        for process in (gateway, worker):
            process.env["HITLINE_AMQP_URL"] = f"amqp://rotated:second@{rotated.broker.place}/"
            await asyncio.to_thread(process.stop)
            await asyncio.to_thread(process.start)
        await wait_for(lambda: http.ready(gateway.admin_port))
    await faults.assert_exact(rotated, ledger)
    assert gateway.text().count("refuses the user or password") == 1, "said once, not at each attempt"


USERS = """<clickhouse><users>
<default><password>admin</password></default>
<hitline><password>{password}</password></hitline>
</users></clickhouse>"""


@pytest.fixture
def guarded(queues: RabbitMQNode, tmp_path: Path) -> Iterator[tuple[System, Path]]:
    """A system with a ClickHouse of its own, whose user `hitline` has the password `first` in a file."""
    users = tmp_path / "users.xml"
    users.write_text(USERS.format(password="first"))
    with ClickHouseProcess(tmp_path / "clickhouse", config_file=users) as process:
        admin = process.url.replace("http://", "http://default:admin@")
        parts.run_apart(lambda: parts.apply_schema(admin))
        process.password = "admin"  # what the test's own statements use
        own = f"http://hitline:first@127.0.0.1:{process.port}"
        with services.system(process, queues, tmp_path, clickhouse_url=own) as running:
            yield running, users


async def test_clickhouses_password_is_changed_under_load(guarded: tuple[System, Path]) -> None:
    system, users = guarded
    worker, ledger = system.workers[0], Ledger()
    async with load(system, ledger):
        users.write_text(USERS.format(password="second"))
        await asyncio.to_thread(system.clickhouse.stop)
        system.clickhouse.password = ""  # its file has the passwords
        await asyncio.to_thread(system.clickhouse.start)
        system.clickhouse.password = "admin"
        await wait_for(lambda: says(worker, "refuses the user or password, or the user lacks a grant"))
        await more_accepted(ledger)  # gateways go on by their copy of the registry
        for process in (system.gateway, worker):
            process.env["HITLINE_CLICKHOUSE_URL"] = f"http://hitline:second@127.0.0.1:{system.clickhouse.port}"
            await asyncio.to_thread(process.stop)
            await asyncio.to_thread(process.start)
    await faults.assert_exact(system, ledger)
    assert "check HITLINE_CLICKHOUSE_URL" in worker.text()
    assert await parts.depth(system.broker.amqp_url, queue.DEAD_QUEUE) == 0


async def test_an_analyst_adds_drops_and_alters_columns_under_load(bare: System) -> None:
    worker, ledger = bare.add_worker(), Ledger()
    execute = parts.execute
    async with load(bare, ledger):
        execute(bare.clickhouse, f"{TABLE} ADD COLUMN mine String DEFAULT 'x'")
        stored = services.count(bare.clickhouse)
        await wait_for(lambda: services.count(bare.clickhouse) > stored + 200)
        execute(bare.clickhouse, f"{TABLE} DROP COLUMN qr_id")
        await wait_for(lambda: says(worker, "a table is not as Hitline made it: run `hitline migrate`"))
        found = await asyncio.to_thread(services.hitline, bare.env, "migrate", "--no-broker", check=False)
        assert (found.returncode, "qr_id" in found.stdout + found.stderr) == (1, True)
        await asyncio.to_thread(services.hitline, bare.env, "migrate", "--no-broker", "--repair", check=False)
        execute(bare.clickhouse, f"{TABLE} DROP COLUMN mine")
        execute(bare.clickhouse, f"{TABLE} MODIFY COLUMN screen_width UInt32")
        stored = services.count(bare.clickhouse)
        await wait_for(lambda: services.count(bare.clickhouse) > stored + 200)
        execute(bare.clickhouse, f"{TABLE} MODIFY COLUMN screen_width UInt16")
    await faults.assert_exact(bare, ledger)
    assert await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE) == 0


async def test_requests_that_a_proxy_repeats_are_one_pageview_each(bare: System) -> None:
    bare.add_worker()
    front = HttpLink(f"http://127.0.0.1:{bare.port}", part=1)
    front.faults = ("twice", "twice at once")
    with links.running(front):
        port = urlsplit(front.url).port
        assert port
        for number in range(20):
            key = {"Idempotency-Key": f"key {number}"}
            for path in (ENDPOINT, BATCH_ENDPOINT):
                body = services.pageview(url=f"https://example.com{path}/{number}")
                answer = await asyncio.to_thread(http.request, port, "POST", path, body, bare.token, key)
                assert answer.status == 202
    await asyncio.to_thread(bare.wait_for_outcomes, 80)
    assert services.count(bare.clickhouse) == 40
    assert bare.outcomes() == {"stored": 80}, "each was accepted twice"


PAUSED = ("worker", "gateway", "clickhouse", "broker")


@pytest.fixture
def impatient(tables: ClickHouseProcess, mortal_broker: RabbitMQNode, tmp_path: Path) -> Iterator[System]:
    """A system with heartbeats of one second in place of ten."""
    parts.run_apart(lambda: parts.empty_queues(mortal_broker.amqp_url))
    url = f"{mortal_broker.amqp_url}?heartbeat=1"
    with services.system(tables, mortal_broker, tmp_path, workers=2, amqp_url=url) as running:
        yield running


async def test_parts_that_stand_still_longer_than_a_heartbeat(impatient: System) -> None:
    """As a machine does that is suspended or out of memory: connections are lost, and work goes on where it was."""
    await prove_stops(impatient, stop_s=4)


@pytest.fixture
def patient(tables: ClickHouseProcess, mortal_broker: RabbitMQNode, tmp_path: Path) -> Iterator[System]:
    parts.run_apart(lambda: parts.empty_queues(mortal_broker.amqp_url))
    with services.system(tables, mortal_broker, tmp_path, workers=2) as running:
        yield running


@pytest.mark.full
async def test_parts_that_stand_still_for_90_s(patient: System) -> None:
    await prove_stops(patient, stop_s=90)


async def prove_stops(system: System, stop_s: float) -> None:
    ledger = Ledger()
    async with load(system, ledger):
        for name in PAUSED:
            pids = {
                "worker": [worker.pid for worker in system.workers],
                "gateway": [system.gateway.pid],
                "clickhouse": [system.clickhouse.pid],
                "broker": [system.broker.pid],
            }[name]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(stop_s)
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
            accepted = len(ledger.accepted)
            await more_accepted(ledger)
            print(
                f"  {name} stood still for {stop_s:.0f} s: {accepted} accepted, {len(ledger.unknown)} unknown",
                flush=True,
            )
    await faults.assert_exact(system, ledger)
    assert await parts.depth(system.broker.amqp_url, queue.DEAD_QUEUE) == 0

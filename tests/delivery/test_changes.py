"""What changes under a running system: the registry, queue keys, the workers themselves."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path

from shared import queue
from tests import http, parts, services
from tests.delivery import faults, poison_kinds
from tests.delivery.faults import Ledger
from tests.services import System


async def test_rolling_restarts_of_workers_take_no_message_twice(bare: System) -> None:
    """Every message is given to one worker, once, and that settles it: a drain that is not whole would leave some.

    What the broker marks as redelivered does not tell.  RabbitMQ 3.10 marks as well what it had meant for a consumer of
    a quorum queue that cancelled before it was sent (tried: in 200 cancellations under a stream the client had, each
    time, exactly what was unacknowledged at the broker, and 512 of 9,468 messages came marked to the next one).
    """
    workers = [bare.add_worker() for _ in range(2)]
    ledger, done = Ledger(), asyncio.Event()
    posting = asyncio.create_task(faults.stream(bare, ledger, done, 1_500, 750))
    for worker in workers * 2:
        await asyncio.sleep(0.5)
        assert await asyncio.to_thread(worker.stop) == 0
        await asyncio.to_thread(worker.start)
    done.set()
    await posting

    await faults.assert_exact(bare, ledger)
    for worker in workers:
        assert await asyncio.to_thread(worker.stop) == 0
    assert sum(worker.taken() for worker in workers) == bare.messages()
    assert faults.doubled(bare) == 0


async def test_a_site_added_a_second_ago_is_known_to_a_worker_with_an_older_copy(bare: System, tmp_path: Path) -> None:
    """The worker polls through a gate that is shut while the site is added: only the message tells it of the site."""
    async with faults.Gate(bare.clickhouse.url).running() as gate:
        worker = await asyncio.to_thread(bare.add_worker, clickhouse_url=gate.url)
        await asyncio.to_thread(services.wait_for, lambda: http.ready(worker.admin_port))
        gate.shut()
        await asyncio.to_thread(services.hitline, bare.env, "site", "add", "new.example")
        token = await asyncio.to_thread(services.add_client, bare.env, "new", "new.example")
        answer = lambda: bare.post(token=token, url="https://new.example/a", **services.ids()).status  # noqa: E731
        await asyncio.to_thread(services.wait_for, lambda: answer() == 202)
        await asyncio.sleep(1)
        gate.open()
        await asyncio.to_thread(bare.wait_for_outcomes, 1)
    assert set(bare.outcomes()) == {"stored"}


async def test_an_empty_registry_pauses_and_a_message_that_can_not_be_opened_does_not(
    bare: System, tmp_path: Path
) -> None:
    worker = await asyncio.to_thread(
        bare.add_worker, clickhouse_url="http://127.0.0.1:1", state_dir=str(tmp_path / "empty")
    )
    assert (await asyncio.to_thread(bare.post)).status == 202
    await asyncio.to_thread(
        services.wait_for, lambda: faults.metric(worker, "hitline_paused", '{reason="registry"}') == 1
    )
    assert await asyncio.to_thread(worker.stop) == 0  # it leaves what it can't process to others
    await poison_kinds.publish(bare.broker.amqp_url, [poison_kinds.foreign()])
    bare.add_worker()
    await asyncio.to_thread(services.wait_for, lambda: bare.outcomes() == {"stored": 1, "dead_lettered": 1})


async def test_queue_keys_are_rotated_without_loss(bare: System) -> None:
    """The procedure of docs/operations/security.md, step by step, under a stream."""
    old = bare.env["HITLINE_QUEUE_KEYS"]
    new = base64.b64encode(os.urandom(32)).decode()
    ledger, done = Ledger(), asyncio.Event()
    bare.add_worker()
    posting = asyncio.create_task(faults.stream(bare, ledger, done, 2_000, 800))

    await with_keys(bare, f"{old},{new}", gateway=False)  # 1. workers open both
    await with_keys(bare, f"{new},{old}", gateway=True)  # 2. gateways seal with the new one
    done.set()
    await posting
    await faults.settled(bare, ledger)  # 3. nothing sealed with the old one is left
    await with_keys(bare, f"{new},{old}", gateway=False)  # 4. workers seal dead letters with the new one
    await with_keys(bare, new, gateway=False)  # 5. the old one is gone
    late = Ledger()
    await faults.post_batches(bare, faults.make_pageviews(100), late)

    ledger.accepted |= late.accepted
    await faults.assert_exact(bare, ledger)
    assert await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE) == 0


async def with_keys(system: System, keys: str, *, gateway: bool) -> None:
    """Restart the gateway or the workers with other keys."""
    for service in [system.gateway] if gateway else system.workers:
        service.env["HITLINE_QUEUE_KEYS"] = keys
        assert await asyncio.to_thread(service.stop) == 0
        await asyncio.to_thread(service.start)


async def test_reconcile_proves_that_all_is_accounted_for(bare: System) -> None:
    bare.add_worker()
    ledger = Ledger()
    await faults.post_batches(bare, faults.make_pageviews(300), ledger)
    assert bare.post(dnt=True).status == 202
    await faults.settled(bare, ledger)
    await asyncio.to_thread(services.wait_for, lambda: sum(bare.outcomes().values()) == 301)
    metrics = f"http://127.0.0.1:{bare.gateway.admin_port}/metrics"

    output = json.loads(services.hitline(bare.env, "reconcile", "--gateway", metrics, "--json").stdout)
    assert (output["accepted"], output["stored"], output["dropped"], output["missing"]) == (301, 300, {"dnt": 1}, 0)
    assert (output["pageviews"], output["repeats"]) == (300, 0)
    assert services.hitline(bare.env, "reconcile", "--accepted", "302", check=False).returncode == 1
    by_site = services.hitline(bare.env, "reconcile", "--site", "example.com", "--client", "tests", "--json").stdout
    assert json.loads(by_site)["ended"] == 301

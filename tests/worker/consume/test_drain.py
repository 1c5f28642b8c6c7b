"""SIGTERM: a worker stops consuming, inserts, acknowledges, and leaves nothing to be delivered again."""

from __future__ import annotations

import time

from shared import queue
from tests import load, parts, services
from tests.services import System


async def test_a_stopped_worker_leaves_nothing_to_be_delivered_again(system: System) -> None:
    pageviews = [services.pageview(**services.ids()) for _ in range(1000)]
    ledger = await load.post_all(system.port, system.token, pageviews, in_flight=100)
    assert len(ledger.accepted) == 1000
    worker = system.workers[0]

    assert worker.stop() == 0
    # Not what the broker marks as redelivered: see test_rolling_restarts_of_workers_take_no_message_twice.
    assert worker.taken() == system.messages(), "messages were taken and not settled"
    left = await parts.depth(system.broker.amqp_url, queue.QUEUE)
    worker.start()
    assert system.wait_for_outcomes(1000) == {"stored": 1000}
    assert worker.stop() == 0
    assert worker.taken() == system.messages(), "messages were taken twice"
    worker.start()
    assert services.count(system.clickhouse, "pageviews_raw") == 1000
    print(f"{left} messages were left in the queue by the first that stopped")


def test_an_idle_worker_stops_at_once(system: System) -> None:
    began = time.monotonic()

    assert system.workers[0].stop() == 0
    assert time.monotonic() - began < 15
    system.workers[0].start()

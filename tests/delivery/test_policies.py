"""Policies of the broker that would delete accepted pageviews: the gateway accepts none until they are gone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQNode
from shared import queue
from tests import http, parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.deploy.observe.instance import set_policy
from tests.services import Service, System


@pytest.fixture
def api_and_system(tables: parts.ClickHouseProcess, tmp_path: Path) -> Iterator[tuple[str, System]]:
    """A system with a broker of its own that has the management API."""
    port = str(free_port())
    config = {"management.tcp.ip": "127.0.0.1", "management.tcp.port": port}
    node = RabbitMQNode(tmp_path / "managed", config=config, plugins=["rabbitmq_management"])
    node.start()
    try:
        parts.run_apart(lambda: parts.empty_queues(node.amqp_url))
        at = urlsplit(node.amqp_url)
        api = f"http://{at.username}:{at.password}@127.0.0.1:{port}"
        with services.system(tables, node, tmp_path, rabbitmq_api_url=api) as running:
            yield api, running
    finally:
        node.stop()


def is_said(process: Service) -> bool:
    return SAYS in process.text()


HARMFUL: dict[str, Any] = {"overflow": "drop-head", "max-length": 5}
SAYS = "policy planted sets overflow drop-head on hitline.pageviews: a full queue drops what was accepted"


async def test_a_policy_that_deletes_what_was_accepted_stops_the_gateway(api_and_system: tuple[str, System]) -> None:
    api, system = api_and_system
    worker, ledger = system.workers[0], Ledger()
    parts.in_thread(lambda: set_policy(api, HARMFUL))
    parts.in_thread(lambda: services.wait_for(lambda: not http.ready(system.gateway.admin_port)))
    refused = parts.in_thread(system.post)
    assert refused.status == 503
    assert refused.message.startswith("not taken: a policy of the queue may delete accepted pageviews")
    for process in (system.gateway, worker):
        services.wait_for(partial(is_said, process))
        assert faults.metric(process, "hitline_queue_unsafe", f'{{queue="{queue.QUEUE}"}}') == 1
    parts.in_thread(lambda: set_policy(api, {"max-length": 1_000_000, "overflow": "reject-publish"}))
    parts.in_thread(lambda: services.wait_for(lambda: http.ready(system.gateway.admin_port)))
    await faults.post_batches(system, faults.make_pageviews(100), ledger)
    await faults.assert_exact(system, ledger)
    assert len(ledger.accepted) == 100
    assert "policies of hitline.pageviews are all right again" in system.gateway.text()
    assert abs(faults.metric(worker, "hitline_clock_ahead_seconds", '{clock="broker"}')) < 60

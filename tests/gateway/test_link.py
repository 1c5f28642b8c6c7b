"""The gateway's connection to the broker, by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
from aio_pika.abc import AbstractConnection

from deploy.local.broker import ensure_rabbitmq
from deploy.local.rabbitmq.node import RabbitMQNode
from gateway.link import Link
from gateway.replies import Reason


class _Broken(Link):
    """One whose connection, once in use, ends in an error, as that of a broker which was killed may."""

    async def _use(self, connection: AbstractConnection) -> None:
        self._set_trouble(None)
        raise ConnectionResetError


@pytest.mark.processes
def test_a_connection_that_ends_in_an_error_is_trouble_at_once(tmp_path: Path) -> None:
    ensure_rabbitmq()
    broker = RabbitMQNode(tmp_path / "rabbitmq")
    broker.start()
    try:
        changes = asyncio.run(_changes(broker.amqp_url))
    finally:
        broker.stop()
    assert [trouble for trouble, _ in changes[:2]] == [None, Reason.BROKER_DOWN]
    # Till then what is posted is published on the dead connection, and answered "unknown".
    assert changes[1][1] - changes[0][1] < 0.05


async def _changes(amqp_url: str) -> list[tuple[Reason | None, float]]:
    link = _Broken([amqp_url], confirm_seconds=5)
    changes: list[tuple[Reason | None, float]] = []
    enough = asyncio.Event()

    def changed() -> None:
        changes.append((link.trouble, time.monotonic()))
        if len(changes) == 2:
            enough.set()

    link.on_change = changed
    running = asyncio.create_task(link.run())
    await asyncio.wait_for(enough.wait(), 10)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return changes

"""Three nodes on one machine."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aio_pika
import pytest

from deploy.local import processes
from deploy.local.broker import ensure_rabbitmq
from deploy.local.rabbitmq import RabbitMQNode
from tests.deploy.local.rabbitmq.test_node import BODY, put, take


@pytest.mark.full
async def test_three_nodes_join_and_two_of_them_go_on_with_a_quorum_queue(tmp_path: Path) -> None:
    ensure_rabbitmq()
    first = RabbitMQNode(tmp_path / "a", "rabbit-a")
    nodes = [first, first.sibling(tmp_path / "b", "rabbit-b"), first.sibling(tmp_path / "c", "rabbit-c")]
    try:
        for node in nodes:
            node.spawn()
        for node in nodes:
            node.wait_until_ready()
        nodes[1].join(first)
        nodes[2].join(first)

        status = first.ctl("cluster_status", "--formatter", "json")
        assert all(node.name in status.split('"running_nodes"')[1] for node in nodes)
        await put(first, "survives")
        first.kill()
        assert await take_once_elected(nodes[1].amqp_url, "survives") == BODY
    finally:
        for node in nodes:
            node.stop()
    assert [pid for node in nodes for pid in processes.pids_of(str(node.path))] == []
    assert processes.pids_of(f"{first.path}/epmd") == []


async def take_once_elected(url: str, queue: str) -> bytes:
    """The two that are left need a moment to find the queue a new leader."""
    for _ in range(120):
        with contextlib.suppress(aio_pika.exceptions.AMQPError, TimeoutError):
            return await take(url, queue)
        await asyncio.sleep(0.5)
    raise AssertionError("no leader within a minute")


def test_a_stranger_cannot_join(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sibling"):
        RabbitMQNode(tmp_path / "a").join(RabbitMQNode(tmp_path / "b"))

"""The private node against the real RabbitMQ: its data, its processes, its ports."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import aio_pika
import pytest

from deploy.local import processes
from deploy.local.broker import why_unusable
from deploy.local.ports import is_taken
from deploy.local.rabbitmq import RabbitMQNode
from tests import parts

pytestmark = pytest.mark.processes

BODY = b"kept by a durable queue"


@pytest.fixture(scope="module")
def node(mortal_broker: RabbitMQNode) -> RabbitMQNode:
    return mortal_broker


async def put(node: RabbitMQNode, queue: str) -> None:
    async with await aio_pika.connect(node.amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        node.sync_new_queues()
        message = aio_pika.Message(BODY, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key=queue)


async def take(url: str, queue: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        found = await (await channel.get_queue(queue)).get(timeout=20)
        await found.ack()
        return found.body


def children_of(node: RabbitMQNode) -> list[str]:
    pids = processes.pids_of(str(node.path)) + processes.pids_of(f"{node.path}/epmd")
    return sorted(processes.command_name(pid) for pid in pids)


@pytest.mark.full  # otherwise wherever tests/delivery kills it, and below as the node of a killed launcher
async def test_a_killed_node_keeps_what_it_had_confirmed(node: RabbitMQNode) -> None:
    await put(node, "after-kill")
    url = node.amqp_url

    node.kill()
    assert "beam.smp" not in children_of(node)
    node.start()

    assert node.amqp_url == url
    assert await take(url, "after-kill") == BODY


#: Starts the node of a directory, says where it is, and waits to be killed.
LAUNCHER = """
import pathlib, signal, sys
from deploy.local.rabbitmq import RabbitMQNode
node = RabbitMQNode(pathlib.Path(sys.argv[1]))
node.start()
print(node.amqp_url, flush=True)
signal.pause()
"""


def test_a_stopped_node_leaves_no_process_and_whoever_starts_it_next_has_its_data(node: RabbitMQNode) -> None:
    parts.run_apart(lambda: put(node, "after-stop"))
    assert "epmd" in children_of(node)

    node.stop()
    assert children_of(node) == []
    assert not node.running

    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(node.path)], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    url = launcher.stdout.readline().strip()
    assert url == node.amqp_url
    assert parts.run_apart(lambda: take(url, "after-stop")) == BODY
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()

    node.start()  # the launcher's is gone or replaced
    assert children_of(node).count("beam.smp") == 1
    assert children_of(node).count("epmd") == 1
    assert node.amqp_url == url


def test_it_listens_on_loopback_only(node: RabbitMQNode) -> None:
    pids = {node.pid, *processes.pids_of(f"{node.path}/epmd")}
    addresses = listening_addresses(pids)

    assert len(addresses) >= 3  # AMQP, distribution, epmd
    assert set(addresses) <= {"0100007F", "00000000000000000000000001000000"}


def listening_addresses(pids: set[int]) -> list[str]:
    """The local addresses, in the kernel's hexadecimal, of the processes' listening sockets."""
    sockets = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                sockets.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return [line[1].partition(":")[0] for line in lines if line[3] == "0A" and line[9] in sockets]


def test_it_leaves_no_memory_on_disk(node: RabbitMQNode) -> None:
    limits = Path(f"/proc/{node.pid}/limits").read_text()
    environment = Path(f"/proc/{node.pid}/environ").read_bytes()

    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]
    assert b"ERL_CRASH_DUMP=/dev/null" in environment.split(b"\0")


def test_secrets_are_the_owners_only_and_not_among_the_arguments(node: RabbitMQNode) -> None:
    for name in ("secrets.json", "rabbitmq.conf"):
        assert (node.path / name).stat().st_mode & 0o077 == 0
    cookie = (node.path / "home" / ".erlang.cookie").read_bytes()
    assert cookie not in Path(f"/proc/{node.pid}/cmdline").read_bytes()


def test_a_wrong_password_is_refused_and_said_so(node: RabbitMQNode) -> None:
    password = node.amqp_url.split(":")[2].split("@")[0]
    reason = why_unusable(node.amqp_url.replace(password, "guessed"))

    assert "user or password refused" in reason
    assert "guessed" not in reason
    assert why_unusable(node.amqp_url) == ""


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_taken(port)
        with pytest.raises(RuntimeError, match=f"port {port} is taken"):
            RabbitMQNode(tmp_path, port=port).start()


def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    node = RabbitMQNode(tmp_path, config={"no_such_setting": "1"})

    with pytest.raises(RuntimeError, match="no_such_setting"):
        node.start()

    assert children_of(node) == []

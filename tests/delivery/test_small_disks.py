"""Disks that are full or read-only for long, without an alarm that says so before: small file systems, as root only."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.rabbitmq import RabbitMQNode
from tests import http, parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import System

pytestmark = [pytest.mark.full, pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount a small file system")]


def mount(path: Path, *options: str) -> None:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "hitline-test", path], check=True)


@pytest.fixture
def cramped(tables: parts.ClickHouseProcess, tmp_path: Path) -> Iterator[System]:
    """A system whose broker has 150 MiB of disk, and no alarm for it."""
    disk = tmp_path / "disk"
    mount(disk, "size=150m")
    # A node's logs of queues are 512 MiB each otherwise.
    config = {"disk_free_limit.absolute": "1KB", "raft.wal_max_size_bytes": "8388608"}
    node = RabbitMQNode(disk / "node", config=config)
    try:
        node.start()
        parts.run_apart(lambda: parts.empty_queues(node.amqp_url))
        node.sync_new_queues()
        node.ctl("eval", "rabbit_disk_monitor:set_enabled(false).")
        with services.system(tables, node, tmp_path, workers=0) as running:
            yield running
    finally:
        node.stop()
        subprocess.run(["umount", "-l", disk], check=True)


async def test_the_brokers_disk_is_full_for_long_with_the_alarm_off(cramped: System) -> None:
    """It crashes, or refuses; what it confirmed is there once it has room again."""
    system, ledger = cramped, Ledger()
    ballast = system.broker.path.parent / "ballast"
    done = asyncio.Event()
    posting = asyncio.create_task(faults.stream(system, ledger, done, 0, 2_000))
    await asyncio.sleep(3)
    free = os.statvfs(ballast.parent).f_bavail * os.statvfs(ballast.parent).f_frsize
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - 2_000_000))
    for _ in range(8):
        await asyncio.sleep(5)
        told = f"answers {dict(ledger.statuses)}, broker runs: {system.broker.running}, gateway ready: {ready(system)}"
        print(f"  full: {len(ledger.accepted)} accepted, {len(ledger.unknown)} unknown, {told}", flush=True)
    assert "refuses messages: it is full (are workers behind?), or the broker can't write" in system.gateway.text()
    ballast.unlink()
    await asyncio.to_thread(restart, system.broker)
    done.set()
    await posting
    system.add_worker()
    await faults.assert_exact(system, ledger)


def ready(system: System) -> bool:
    return http.ready(system.gateway.admin_port)


def restart(node: RabbitMQNode) -> None:
    """As a supervisor does, once there is room."""
    node.kill()
    node.start()


@pytest.fixture
def sealed(stack: parts.Stack, tmp_path: Path) -> Iterator[tuple[System, Path]]:
    """A system whose state directory is a file system of its own."""
    state = tmp_path / "state"
    mount(state, "size=50m")
    try:
        with services.system(stack.clickhouse, stack.broker, tmp_path) as running:
            yield running, state
    finally:
        subprocess.run(["umount", "-l", state], check=True)


async def test_a_read_only_state_directory_is_named_at_the_start(sealed: tuple[System, Path]) -> None:
    """A file system becomes that after an error of its disk; what was accepted before waits in the queue."""
    system, state = sealed
    ledger, worker = Ledger(), system.workers[0]
    worker.stop()
    await faults.post_batches(system, faults.make_pageviews(200), ledger)
    system.gateway.stop()
    mount(state, "remount", "ro")
    for process in (system.gateway, worker):
        with pytest.raises(RuntimeError, match="ended with exit code 1"):
            process.start()
        assert f"HITLINE_STATE_DIR: {state} can't be written: Read-only file system" in process.text()
    mount(state, "remount", "rw")
    for process in (system.gateway, worker):
        process.start()
    await faults.assert_exact(system, ledger)

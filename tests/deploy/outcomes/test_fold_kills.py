"""Folding that is killed at any of its steps, or done by several at once, changes nothing that readers see."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.outcomes import fold as folding
from tests import parts
from tests.deploy.outcomes import messages
from tests.deploy.rollups.test_kills import Killed

pytestmark = pytest.mark.processes

#: More than folding two months in two shares each has.
MOST_STEPS = 60
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.deploy.outcomes.test_fold_kills"])


def fold_in_child(url: str, kill_at: int, after_s: float | None) -> None:
    async def run() -> None:
        client = Killed(url, "hitline tests")
        await client.client()
        client.left, client.after_s = kill_at, after_s
        folding.SHARE = 150
        await folding.fold(client)
        await client.close()

    asyncio.run(run())


def start(clickhouse: ClickHouseProcess, kill_at: int = 0, after_s: float | None = None) -> Any:
    process = _processes.Process(target=fold_in_child, args=(clickhouse.url, kill_at, after_s))
    process.start()
    return process


def fold(clickhouse: ClickHouseProcess, kill_at: int = 0, after_s: float | None = None) -> bool:
    """Fold once; returns whether it was killed."""
    process = start(clickhouse, kill_at, after_s)
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@contextmanager
def readers_see(clickhouse: ClickHouseProcess, expected: str) -> Iterator[None]:
    """Read the view all the time; fails if it ever said anything else."""
    wrong: list[str] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen = messages.view(clickhouse)
            if seen != expected:
                wrong.append(seen)

    thread = threading.Thread(target=read)
    thread.start()
    yield
    over.set()
    thread.join()
    assert not wrong


def fill(clickhouse: ClickHouseProcess, seed: int) -> str:
    """Insert messages of three months, of which two are due, and return what the view says."""
    parts.execute(clickhouse, "TRUNCATE TABLE hitline.outcomes_raw")
    messages.insert(clickhouse, messages.make(100, 5, seed))
    messages.insert(clickhouse, messages.with_dead_letter(date(2026, 1, 5)))
    return messages.view(clickhouse)


def check(clickhouse: ClickHouseProcess, expected: str) -> None:
    assert not fold(clickhouse)
    assert messages.view(clickhouse) == expected
    # Of one fold there is a row a day and share; a row that was folded twice, or by half, would show in the view.
    assert messages.rows(clickhouse, "day < '2026-03-01' AND version < 9223372036854775808") == 2
    assert messages.rows(clickhouse, "version >= 9223372036854775808 AND empty(minutes)") == 0


def test_killed_at_each_step_while_others_read(tables: ClickHouseProcess) -> None:
    """Before a statement is sent, by turns with while it is executed, at a later step in each run."""
    expected = fill(tables, 1)
    with readers_see(tables, expected):
        for step in range(2, MOST_STEPS, 7):
            if not fold(tables, step, None if step % 2 else 0.005):
                break
    assert step > 10
    check(tables, expected)


@pytest.mark.full
def test_killed_at_every_step_and_at_random(tables: ClickHouseProcess) -> None:
    for after_s in (None, 0.005):
        for step in range(1, MOST_STEPS):
            expected = fill(tables, step)
            with readers_see(tables, expected):
                killed = fold(tables, step, after_s)
            check(tables, expected)
            if not killed:
                break
        assert step > 15
    chance = random.Random(5)
    expected = ""
    for number in range(40):
        if number % 8 == 0:
            expected = fill(tables, 100 + number)
        with readers_see(tables, expected):
            fold(tables, chance.randrange(1, 30), chance.choice((None, chance.random() / 20)))
        if number % 8 == 7:
            check(tables, expected)


def test_several_at_once(tables: ClickHouseProcess) -> None:
    """One is killed while it folds: the next goes on at once, as its process is gone."""
    expected = fill(tables, 2)
    with readers_see(tables, expected):
        running = [start(tables, 14), *(start(tables) for _ in range(2))]
        late: messages.Row = (uuid.uuid4(), 0, date(2026, 1, 7), [], [], [], 7)
        messages.insert(tables, [late])
        for process in running:
            process.join(120)
    assert [process.exitcode for process in running[1:]] == [0, 0]
    check(tables, expected)

"""Dead letters by the thousand: read, replayed and killed in between, by several commands at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from shared import dead_letters, message, queue
from shared.message import Headers
from shared.pageview import join, pack_item
from shared.seal import Sealer
from tests import parts, services
from tests.delivery import faults, poison_kinds
from tests.services import System

MANY = int(os.environ.get("HITLINE_TEST_DEAD_LETTERS", "100000"))


_NUMBERS = itertools.count()


class Command(Protocol):
    """What is asked of a command that was started, whichever way."""

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def communicate(self) -> tuple[str, str]: ...


class Begin(Protocol):
    """Starts `hitline dead` with these arguments."""

    def __call__(self, system: System, *arguments: str) -> Command: ...


class Ended(NamedTuple):
    """How a command ended: its output, its seconds, and its memory at most."""

    output: str
    seconds: float
    mib: float


async def test_letters_are_listed_twice_at_once_and_replayed_once_though_a_replay_is_killed(bare: System) -> None:
    """As forks: what a command takes is measured by the long form."""
    await prove(bare, 300, forked)


@pytest.mark.full
async def test_100_000_letters(bare: System) -> None:
    lists, replays = await prove(bare, MANY, start)
    assert max(each.mib for each in (*lists, *replays)) < 200
    assert lists[0].seconds < 30 * MANY / 100_000 + 5
    assert sum(each.seconds for each in replays) < 180 * MANY / 100_000 + 20


async def prove(system: System, count: int, begin: Begin) -> tuple[list[Ended], list[Ended]]:
    """Return how the lists and the replays ended."""
    await put_letters(system.broker.amqp_url, count)
    alone = await finished(begin(system, "list", "--json"))
    both = [begin(system, "list", "--json"), begin(system, "list", "--reason", "no such", "--json")]
    first, none = [await finished(each) for each in both]
    for each in (alone, first):
        assert len({letter["id"] for letter in json.loads(each.output)}) == count
    assert json.loads(none.output) == []

    await asyncio.to_thread(system.add_worker)
    began = time.monotonic()
    killed = begin(system, "replay", "--all", "--json")
    await asyncio.to_thread(services.wait_for, lambda: some_are_stored(system) or killed.poll() is not None, 120)
    killed.kill()
    await asyncio.to_thread(killed.communicate)
    until_killed = Ended("", time.monotonic() - began, 0)
    left = await parts.depth(system.broker.amqp_url, queue.DEAD_QUEUE)
    again, beside = begin(system, "replay", "--all", "--json"), begin(system, "replay", "--all", "--json")
    replays = [await finished(again), await finished(beside)]
    outcomes = {each["end"] for ended in replays for each in json.loads(ended.output)}
    print(
        f"\n{count} letters: list {alone.seconds:.1f} s, {alone.mib:.0f} MiB; {left} left by a replay that was killed"
    )
    print(f"replays {[(round(each.seconds, 1), round(each.mib)) for each in replays]}, {outcomes}")

    await asyncio.to_thread(services.wait_for, lambda: system.outcomes() == {"stored": count}, 120)
    assert outcomes <= {"stored"}
    assert await parts.depth(system.broker.amqp_url, queue.DEAD_QUEUE) == 0
    assert (services.count(system.clickhouse), faults.doubled(system)) == (count, 0)
    return [alone, first], [until_killed, replays[0]]


def some_are_stored(system: System) -> bool:
    return services.count(system.clickhouse, "pageviews_raw") > 0


class Fork:
    """A `hitline dead` that is a fork; its output is told like that of one whose peak is measured."""

    def __init__(self, system: System, *arguments: str) -> None:
        number = next(_NUMBERS)
        self._output, self._errors = (system.logs / f"dead-{number}.{kind}" for kind in ("out", "err"))
        files = {1: self._output, 2: self._errors}
        self._began = time.monotonic()
        self._process = services.FORK_SERVERS["hitline"].start(("dead", *arguments), system.env, files)
        self.poll, self.kill = self._process.poll, self._process.kill

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def communicate(self) -> tuple[str, str]:
        self._process.wait(services.START_S)
        took = f"took {time.monotonic() - self._began} 0"
        return self._output.read_text(), f"{self._errors.read_text()}\n{took}"


def forked(system: System, *arguments: str) -> Fork:
    return Fork(system, *arguments)


def start(system: System, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PEAK, "dead", *arguments]
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        command, env=system.env, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


#: The command, which says on standard error what it took.
PEAK = """
import atexit, re, sys, time
began = time.monotonic()
def tell():
    peak_kib = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
    print("took", time.monotonic() - began, int(peak_kib) / 1024, file=sys.stderr)
atexit.register(tell)
from deploy.cli import main
main()
"""


async def finished(process: Command) -> Ended:
    output, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, errors
    _, seconds, mib = errors.splitlines()[-1].split()
    return Ended(output, float(seconds), float(mib))


async def put_letters(amqp_url: str, count: int) -> None:
    """Publish letters of single pageviews, as a worker does."""
    sealer = Sealer([parts.QUEUE_KEY])
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        exchange = await channel.get_exchange(queue.EXCHANGE, ensure=False)
        for start_ in range(0, count, 500):
            letters = [letter(sealer) for _ in range(min(500, count - start_))]
            await asyncio.gather(*(exchange.publish(each, queue.DEAD) for each in letters))


def letter(sealer: Sealer) -> poison_kinds.aio_pika.Message:
    headers = Headers(uuid.uuid4(), 1, 0, repeated=True)
    cause: dict[str, str | int] = {
        dead_letters.REASON: "ClickHouse: VIOLATED_CONSTRAINT",
        dead_letters.DIED_AT: datetime.now(UTC).isoformat(timespec="milliseconds"),
        dead_letters.WORKER: "worker-1",
        dead_letters.LETTER_ID: str(uuid.uuid4()),
    }
    made = message.build(headers, join([pack_item(poison_kinds.queued())]), sealer, cause)
    made.timestamp = datetime.now(UTC)
    return made

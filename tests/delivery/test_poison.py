"""Poison of every kind among good pageviews: set aside with its reason, and stored once when it is replayed."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import queue
from tests import parts, services
from tests.delivery import faults, poison_kinds
from tests.delivery.faults import Ledger
from tests.delivery.poison_kinds import KINDS
from tests.services import System


@pytest.fixture
def refusing(bare: System) -> Iterator[System]:
    """A system whose ClickHouse refuses one path."""
    table = "hitline.pageviews_raw"
    parts.execute(bare.clickhouse, f"ALTER TABLE {table} ADD CONSTRAINT IF NOT EXISTS good CHECK path != '/evil'")
    yield bare
    parts.execute(bare.clickhouse, f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS good")


async def test_poison_of_every_kind_is_dead_lettered_and_replayed_exactly_once(refusing: System) -> None:
    await prove(refusing, good=1_000, of_each=2)


@pytest.mark.full
async def test_10_000_good_and_100_of_poison(refusing: System) -> None:
    await prove(refusing, good=10_000, of_each=10)


async def prove(system: System, good: int, of_each: int) -> None:
    ledger = Ledger()
    pageviews = faults.make_pageviews(good)
    bad = [kind for kind in KINDS.values() for _ in range(of_each)]
    neighbours = sum(kind.neighbours for kind in bad)
    mended = sum(kind.mended for kind in bad)
    await faults.post_batches(system, pageviews[: good // 2], ledger, size=100)
    await poison_kinds.publish(system.broker.amqp_url, [kind.make() for kind in bad])
    worker = system.add_worker()
    await faults.post_batches(system, pageviews[good // 2 :], ledger, size=100)

    expected = {"stored": good + neighbours, "dead_lettered": len(bad)}
    await wait_for_outcomes(system, expected)
    found = Counter(each["reason"] for each in listed(system, len(bad)))
    print(f"\n{good} good and {neighbours} beside poison stored; dead letters: {dict(found)}")
    assert found == Counter(kind.reason for kind in bad)
    assert ledger.accepted <= faults.stored_ids(system)
    assert services.count(system.clickhouse) == good + neighbours

    parts.execute(system.clickhouse, "ALTER TABLE hitline.pageviews_raw DROP CONSTRAINT good")
    await asyncio.to_thread(worker.stop)
    both_keys = f"{system.env['HITLINE_QUEUE_KEYS']},{base64.b64encode(poison_kinds.OTHER_KEY).decode()}"
    await asyncio.to_thread(system.add_worker, queue_keys=both_keys)
    ends = Counter(each["end"] for each in json.loads(dead(system, "replay", "--all", "--json")))
    print(f"replayed: {dict(ends)}")
    assert ends == {"stored": mended, "dead_lettered": len(bad) - mended}
    left = Counter(each["reason"] for each in listed(system, len(bad) - mended))
    assert left == Counter(kind.reason for kind in bad if not kind.mended)
    assert services.count(system.clickhouse) == good + neighbours + mended
    assert faults.doubled(system) == 0
    assert system.outcomes() == {"stored": good + neighbours + mended, "dead_lettered": len(bad) - mended}


async def test_a_dead_letter_is_shown_with_its_address_masked_and_purged_on_request(bare: System) -> None:
    bare.add_worker()
    poison = poison_kinds.sealed([poison_kinds.queued(hostname="x" * 10, session_id=b"short")])
    foreign = poison_kinds.foreign()
    await poison_kinds.publish(bare.broker.amqp_url, [poison, foreign])
    found = {each["reason"]: each["id"] for each in listed(bare, 2)}

    shown = json.loads(dead(bare, "show", found["an id does not have 16 bytes"]))
    assert shown["contents"] == [{"unreadable": "an id does not have 16 bytes"}]
    assert "198.51" not in dead(bare, "list", "--json")
    assert "1 dead letters purged" in dead(bare, "purge", "--reason", "16 bytes", "--yes")
    assert [each["id"] for each in listed(bare, 1)] == [found["message id or headers are missing or malformed"]]
    assert services.hitline(bare.env, "dead", "purge", check=False).returncode != 0


async def test_two_letters_of_one_pageview_are_replayed_as_one(refusing: System) -> None:
    """A worker that was killed between a dead letter and its acknowledgement wrote it twice."""
    worker = refusing.add_worker()
    await poison_kinds.publish(refusing.broker.amqp_url, [KINDS["refused by ClickHouse"].make()])
    listed(refusing, 1)
    await copy_dead_letter(refusing.broker.amqp_url)
    listed(refusing, 2)
    masked = json.loads(dead(refusing, "show", listed(refusing, 2)[0]["id"]))["contents"][0]["visitor_ip"]
    assert masked == "198.51.100.0/24"
    parts.execute(refusing.clickhouse, "ALTER TABLE hitline.pageviews_raw DROP CONSTRAINT good")

    ends = [each["end"] for each in json.loads(dead(refusing, "replay", "--all", "--json"))]

    assert ends == ["stored"]
    assert listed(refusing, 0) == []
    assert (services.count(refusing.clickhouse), faults.doubled(refusing)) == (2, 0)
    assert refusing.outcomes() == {"stored": 2}
    assert worker.running


@pytest.mark.full
async def test_much_poison_pauses_and_the_good_goes_on_before_it(bare: System) -> None:
    ledger = Ledger()
    await faults.post_batches(bare, faults.make_pageviews(500), ledger)
    await poison_kinds.publish(bare.broker.amqp_url, [poison_kinds.foreign() for _ in range(1_100)])
    worker = bare.add_worker()

    await asyncio.to_thread(
        services.wait_for, lambda: faults.metric(worker, "hitline_paused", '{reason="poison"}') == 1, 60
    )
    dead_now = await parts.depth(bare.broker.amqp_url, queue.DEAD_QUEUE)
    assert 950 <= dead_now < 1_060  # those that wait for each other in a group are written together
    assert faults.stored_ids(bare) == ledger.accepted
    assert "HITLINE_QUEUE_KEYS" in worker.text()
    assert await asyncio.to_thread(worker.stop) == 0


@pytest.mark.full
async def test_a_replay_that_is_killed_loses_nothing_and_is_simply_run_again(refusing: System) -> None:
    letters = 300
    refusing.add_worker()
    made = [KINDS["refused by ClickHouse"].make() for _ in range(letters)]
    await poison_kinds.publish(refusing.broker.amqp_url, made)
    await wait_for_outcomes(refusing, {"stored": letters, "dead_lettered": letters})
    parts.execute(refusing.clickhouse, "ALTER TABLE hitline.pageviews_raw DROP CONSTRAINT good")
    for _ in range(3):
        await asyncio.to_thread(replay_and_kill, refusing)
    left = await parts.depth(refusing.broker.amqp_url, queue.DEAD_QUEUE)
    print(f"\n  {left} of {letters} left after three replays that were killed")
    dead(refusing, "replay", "--all")

    await wait_for_outcomes(refusing, {"stored": 2 * letters})
    assert listed(refusing, 0) == []
    assert (services.count(refusing.clickhouse), faults.doubled(refusing)) == (2 * letters, 0)


@pytest.mark.full
async def test_a_full_dead_letter_queue_holds_up_nothing_but_poison(bare: System) -> None:
    bare.broker.ctl("set_policy", "tiny", "^hitline.dead$", '{"max-length": 1}', "--apply-to", "queues")
    try:
        worker = bare.add_worker()
        await poison_kinds.publish(bare.broker.amqp_url, [poison_kinds.foreign() for _ in range(300)])
        await asyncio.to_thread(
            services.wait_for, lambda: faults.metric(worker, "hitline_paused", '{reason="dead_letters"}') == 1
        )
    finally:
        bare.broker.ctl("clear_policy", "tiny")
    ledger = Ledger()
    await faults.post_batches(bare, faults.make_pageviews(100), ledger)
    await wait_for_outcomes(bare, {"stored": 100, "dead_lettered": 300})
    assert len(listed(bare, 300)) == 300


def replay_and_kill(system: System) -> None:
    """Begin to replay, and kill the command once some of it is stored."""
    before = services.count(system.clickhouse)
    with start_replay(system) as replaying:
        services.wait_for(lambda: services.count(system.clickhouse) > before or replaying.poll() is not None)
        replaying.kill()


def start_replay(system: System) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from deploy.cli import main; main()", "dead", "replay", "--all"]
    return subprocess.Popen(command, env=system.env, cwd=Path(__file__).parents[2])


def dead(system: System, *arguments: str) -> str:
    return services.hitline(system.env, "dead", *arguments).stdout


def listed(system: System, count: int) -> list[dict[str, Any]]:
    """Return the dead letters once there are this many."""

    def look() -> list[list[dict[str, Any]]]:
        found = json.loads(dead(system, "list", "--json"))
        return [found] if len(found) == count else []

    return services.wait_for(look)[0]


async def wait_for_outcomes(system: System, expected: dict[str, int]) -> None:
    try:
        await asyncio.to_thread(services.wait_for, lambda: system.outcomes() == expected, 90)
    except TimeoutError:
        assert system.outcomes() == expected


async def copy_dead_letter(amqp_url: str) -> None:
    """Do what a worker does with a redelivered message: publish the same letter again, with another id."""
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        source = await channel.get_queue(queue.DEAD_QUEUE, ensure=False)
        letter = await source.get()
        letter.headers["letter_id"] = "copy"
        exchange = await channel.get_exchange(queue.EXCHANGE, ensure=False)
        await exchange.publish(letter, queue.DEAD)
        await letter.nack()

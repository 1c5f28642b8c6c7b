"""The salts of derived sessions, against the real engine: agreed on, made ahead, and gone."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.seal import Opener, Sealer
from tests import parts, services
from worker.consume.salt_keeper import MAX_DIFFERENCE_S, SaltKeeper
from worker.lookups.salts import AHEAD, SaltNotReady, Salts

KEY = b"k" * 32
DAY_S = 86_400


def today() -> int:
    return int(time.time()) // DAY_S


@pytest.fixture
async def database(tables: ClickHouseProcess) -> AsyncIterator[ClickHouse]:
    client = ClickHouse(tables.url, "hitline tests", read_s=20)
    yield client
    await client.close()


async def kept(
    database: ClickHouse, *, keys: tuple[bytes, ...] = (KEY,), clock=time.time, enough_s: float = 15
) -> Salts:
    """Run a keeper until today's salt can be used, or for so long."""
    salts = Salts()
    keeper = asyncio.create_task(SaltKeeper(salts, database, Sealer(keys), Opener(keys), clock).run())
    with suppress(SaltNotReady):
        salts.of(today())  # nothing happens before one is asked for
    with suppress(TimeoutError):
        await asyncio.to_thread(services.wait_for, lambda: salts.ready, enough_s)
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    return salts


def count(tables: ClickHouseProcess, where: str = "1") -> int:
    return int(parts.execute(tables, f"SELECT count() FROM hitline_control.salts WHERE {where}"))


def insert(tables: ClickHouseProcess, day: int, salt: bytes, keys: tuple[bytes, ...] = (KEY,)) -> str:
    sealed = base64.b64encode(Sealer(keys).seal(salt, b"hitline salt of day %d" % day)).decode()
    parts.execute(tables, f"INSERT INTO hitline_control.salts (day, salt) SELECT toDate({day}), '{sealed}'")
    return sealed


async def test_workers_that_start_at_once_agree_and_later_ones_too(
    database: ClickHouse, tables: ClickHouseProcess
) -> None:
    first = await asyncio.gather(*(kept(database) for _ in range(5)))
    assert count(tables) == AHEAD + 1, "one a day, made ahead"
    later = await kept(database)
    days = range(today(), today() + AHEAD + 1)
    for day in days:
        assert len({salts.of(day) for salts in (*first, later)}) == 1
    assert len({later.of(day) for day in days}) == len(days)
    assert later.of(today() - 1) is None, "a day that is over never gets one"


async def test_of_two_for_a_day_the_older_counts(database: ClickHouse, tables: ClickHouseProcess) -> None:
    insert(tables, today(), b"older")
    insert(tables, today(), b"newer")
    assert (await kept(database)).of(today()) == b"older"


async def test_what_is_stored_says_nothing_without_the_queue_key(
    database: ClickHouse, tables: ClickHouseProcess
) -> None:
    salt = (await kept(database)).of(today())
    assert salt is not None
    assert len(salt) == 32
    assert salt.hex() not in parts.execute(tables, "SELECT hex(base64Decode(salt)) FROM hitline_control.salts").lower()
    other = await kept(database, keys=(b"o" * 32,), enough_s=2)
    assert not other.ready
    with pytest.raises(SaltNotReady):
        other.of(today())
    assert count(tables) == AHEAD + 1, "and it makes no other"


def on_disk(tables: ClickHouseProcess, text: str) -> list[Path]:
    return [path for path in tables.path.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.mark.full
async def test_the_server_drops_a_salt_48_hours_after_its_day_and_nothing_of_it_is_left_on_disk(
    tables: ClickHouseProcess,
) -> None:
    """Without any worker; as many as there are ways in which a part may hold it."""
    gone = [insert(tables, today() - 3, b"gone") for _ in range(3)]
    stays = insert(tables, today() - 2, b"stays")
    with suppress(TimeoutError):
        await asyncio.to_thread(services.wait_for, lambda: not any(on_disk(tables, text) for text in gone), 180)
    assert [on_disk(tables, text) for text in gone] == [[], [], []]
    assert on_disk(tables, stays)
    assert count(tables, f"day = toDate({today() - 2})") == 1


async def test_a_worker_drops_what_the_server_did_not_if_both_clocks_say_so(
    database: ClickHouse, tables: ClickHouseProcess
) -> None:
    parts.execute(tables, "SYSTEM STOP TTL MERGES hitline_control.salts")
    try:
        sealed = insert(tables, today() - 4, b"overdue")
        await kept(database, clock=lambda: time.time() + 2 * MAX_DIFFERENCE_S)
        await kept(database, clock=lambda: time.time() - 2 * MAX_DIFFERENCE_S)
        assert count(tables, f"day = toDate({today() - 4})") == 1, "one clock is not enough"
        salts = await kept(database)
        assert count(tables, f"day = toDate({today() - 4})") == 0
        with suppress(TimeoutError):
            await asyncio.to_thread(services.wait_for, lambda: not on_disk(tables, sealed), 60)
        assert on_disk(tables, sealed) == []
        assert salts.of(today() - 4) is None
    finally:
        parts.execute(tables, "SYSTEM START TTL MERGES hitline_control.salts")


async def test_a_salt_that_is_overdue_is_not_used_even_if_it_is_still_there(
    database: ClickHouse, tables: ClickHouseProcess
) -> None:
    parts.execute(tables, "SYSTEM STOP TTL MERGES hitline_control.salts")
    try:
        insert(tables, today() - 2, b"yesterday's")
        insert(tables, today() - 3, b"overdue")
        salts = await kept(database, clock=lambda: time.time() - 2 * MAX_DIFFERENCE_S)
        assert (salts.of(today() - 2), salts.of(today() - 3)) == (b"yesterday's", None)
    finally:
        parts.execute(tables, "SYSTEM START TTL MERGES hitline_control.salts")


async def test_a_worker_forgets_its_salts_in_time_while_clickhouse_is_away(
    database: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved_s = 0.0
    salts = Salts()
    keeper = SaltKeeper(salts, database, Sealer([KEY]), Opener([KEY]), lambda: time.time() + moved_s)
    with suppress(SaltNotReady):
        salts.of(today())
    running = asyncio.create_task(keeper.run())
    await asyncio.to_thread(services.wait_for, lambda: salts.ready)
    day, salt = today(), salts.of(today())

    async def away(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(database, "query", away)
    # Its clock shows that 71, then 73 hours have gone by since the day began.
    for hours in (71, 73):
        moved_s = (day * DAY_S + hours * 3600) - time.time()
        salts.on_missing()
        await asyncio.sleep(2)
        if hours == 71:
            assert salts.of(day) == salt
        else:
            with pytest.raises(SaltNotReady):
                salts.of(day)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

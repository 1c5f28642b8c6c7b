"""Erased pageviews are unreadable at once, and off the disk after the next rewrite; the record tells when."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Sequence

import pytest

from deploy.erasure import record, request
from deploy.erasure.conditions import Erasure
from deploy.erasure.request import erase
from deploy.erasure.rewrite import rewrite
from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.erasure.cut_off import until_cut_off
from tests.deploy.erasure.test_retention import masked
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check

pytestmark = pytest.mark.processes

TABLES = ("pageviews_raw", "session_days_raw", "daily_counts_raw", "hourly_counts_raw", "several_days_raw")


def stored_with_repeats(
    tables: ClickHouseProcess, seed: int, sites: dict[uuid.UUID, str] = visits.PAIR
) -> visits.Stored:
    """Store pageviews, some of them twice, with another path the second time, before any of it is merged."""
    visits.register(tables, sites)
    stored: visits.Stored = {}
    rows = visits.make(60, seed=seed, days=1, sites=sites)
    for some in (rows, [{**row, "path": "/corrected"} for row in rows[:30]], [{**row} for row in rows[30:40]]):
        visits.insert(tables, some)
        visits.store(stored, some)
    return stored


def test_unreadable_first_then_off_the_disk(tables: ClickHouseProcess, hitline: Hitline) -> None:
    stored = stored_with_repeats(tables, 51)
    session = next(row["session_id"] for row in stored.values() if row["path"] != "/corrected")
    hitline("rollup")
    printed = hitline("erase", "--path", "/corr*", "--yes", "--reference", "case 12").stdout
    assert "30 pageviews erased, none left" in printed
    for key in [key for key, row in stored.items() if row["path"] == "/corrected"]:
        del stored[key]
    check(tables, stored)
    for table in TABLES[1:3]:
        assert masked(tables, table) > 0, "still on the disk"
    listed = hitline("erase", "--list").stdout.splitlines()
    assert "case 12" in listed[1]
    assert listed[1].split()[-1] == "-"
    hitline("erase", "--session", session, "--yes")
    before = len(services.rows(tables, "SELECT * FROM system.mutations"))
    assert hitline("erase", "--now").stdout.count("is off the disk") == 2, "both by one rewrite"
    done = services.rows(tables, "SELECT table, command FROM system.mutations ORDER BY create_time")[before:]
    assert len({json.dumps(each) for each in done}) == len(done), "one for each partition"
    for table in TABLES:
        assert masked(tables, table) == 0
    assert not any(line.endswith("-") for line in hitline("erase", "--list").stdout.splitlines())
    assert "nothing that was erased is on the disk" in hitline("erase", "--now").stdout
    check_that_no_text_that_clickhouse_keeps_has_what_was_erased(tables, session)


def check_that_no_text_that_clickhouse_keeps_has_what_was_erased(tables: ClickHouseProcess, session: str) -> None:
    texts = "\n".join(row["command"] for row in services.rows(tables, "SELECT command FROM system.mutations"))
    assert "DELETE" in texts or "_row_exists" in texts
    for text in ("/corr", session):
        assert text not in texts
    kept = services.rows(tables, "SELECT * FROM hitline_control.erasures")
    assert "/corr" not in str(kept)
    assert session not in str(kept)


@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.full)])
def test_a_pageview_that_comes_again_is_stored_again_and_survives_the_rewrite(
    tables: ClickHouseProcess, hitline: Hitline, again: bool
) -> None:
    """And is erased again, in the long form."""
    stored = stored_with_repeats(tables, 53)
    row = next(row for row in stored.values() if row["path"] != "/corrected")
    hitline("rollup")
    hitline("erase", "--session", row["session_id"], "--yes")
    for key in [key for key, each in stored.items() if each["session_id"] == row["session_id"]]:
        del stored[key]
    visits.insert(tables, [row])  # such as a dead letter that was replayed
    visits.store(stored, [row])
    hitline("rollup")
    hitline("erase", "--now")
    parts.execute(tables, "OPTIMIZE TABLE hitline.pageviews_raw FINAL")
    check(tables, stored)
    if not again:
        return
    hitline("erase", "--session", row["session_id"], "--yes", "--now")
    del stored[tuple(row[name] for name in visits.IDENTITY)]
    check(tables, stored)


async def cut_off(clickhouse: ClickHouseProcess, erasure: Erasure, at: int, *, afterwards: bool) -> bool:
    """Erase and rewrite; returns whether it was cut off at that statement."""

    async def work(client: ClickHouse) -> None:
        await erase(client, erasure)
        async for _ in rewrite(client):
            pass

    return await until_cut_off(clickhouse, work, at, afterwards=afterwards)


#: As many look at what there is, before anything is recorded.
FIRST_STEPS = 8
#: More than it has.
MOST_STEPS = 90


@pytest.mark.parametrize("steps", [(30,), pytest.param(range(1, MOST_STEPS), marks=pytest.mark.full)])
async def test_cut_off_at_any_step_it_is_completed(
    tables: ClickHouseProcess, hitline: Hitline, steps: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.rollups.lease._is_gone", lambda owner: True)  # as that of a process that was killed
    stored = stored_with_repeats(tables, 54, visits.FEW if len(steps) > 2 else visits.PAIR)
    hitline("rollup")
    chance = random.Random(54)
    paths = iter(range(1000))
    for step in steps:
        path = f"/secret/{next(paths)}"
        some = chance.sample(list(stored.values()), 3)
        fresh = [{**row, "page_id": str(uuid.UUID(int=chance.getrandbits(128))), "path": path} for row in some]
        visits.insert(tables, fresh)
        visits.insert(tables, [{**row, "path": "/other"} for row in fresh[:1]])  # no longer of this path
        visits.store(stored, [{**fresh[0], "path": "/other"}])
        hitline("rollup")
        killed = await cut_off(tables, Erasure(path=path), step, afterwards=step % 2 == 0)
        if step % 3:
            hitline("rollup")
        hitline("erase", "--resume", "--now")
        if services.count(tables, where=f"path = '{path}'"):
            assert step <= FIRST_STEPS, "it was not even recorded: the command has not been run"
            hitline("erase", "--path", path, "--yes", "--now")
        assert services.count(tables, where=f"path = '{path}'") == 0
        if not killed:
            break
    assert step > 25, "it has more steps than that"
    check(tables, stored)
    for table in TABLES:
        assert masked(tables, table) == 0
    assert not any(line.endswith("-") for line in hitline("erase", "--list").stdout.splitlines()[1:])


#: Two erasures, a run of the rollups, a retention and a rewrite; and the first, which wait for each other most.
AT_ONCE = ("path", "rollup", "now", "session", "retain")


@pytest.mark.parametrize("names", [AT_ONCE[:3], pytest.param(AT_ONCE, marks=pytest.mark.full)], ids=len)
def test_several_at_once(tables: ClickHouseProcess, hitline: Hitline, names: Sequence[str]) -> None:
    """Beside pageviews that arrive."""
    stored = stored_with_repeats(tables, 56)
    session = next(row["session_id"] for row in stored.values() if row["path"] != "/corrected")
    fresh = visits.make(20, seed=57, days=1, sites=visits.PAIR)
    hitline("rollup")
    commands = {
        "path": ("erase", "--path", "/corrected", "--yes"), "session": ("erase", "--session", session, "--yes"),
        "rollup": ("rollup",), "retain": ("retain",), "now": ("erase", "--now"),
    }  # fmt: skip
    threads = [threading.Thread(target=hitline, args=commands[name]) for name in names]
    threads.append(threading.Thread(target=visits.insert, args=(tables, fresh)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    visits.store(stored, fresh)
    hitline("rollup")
    hitline("erase", "--now")
    check(
        tables,
        {
            key: row for key, row in stored.items()
            if row in fresh
            or (row["path"] != "/corrected" and ("session" not in names or row["session_id"] != session))
        },
    )  # fmt: skip
    for table in TABLES:
        assert masked(tables, table) == 0


async def test_shares_give_what_one_statement_gives(
    tables: ClickHouseProcess, hitline: Hitline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by shares: of a set of more than a million rows, here of 150."""
    monkeypatch.setattr("deploy.erasure.deletes.SET_ROWS", 150)
    stored = stored_with_repeats(tables, 55)
    hitline("rollup")
    client = ClickHouse(tables.url, "hitline tests")
    try:
        asked = Erasure(path="/corr*")
        assert (await request.look(client, asked)).pageviews == 30
        assert (await erase(client, asked)).pageviews == 30
        [entry] = await record.entries(client)
        assert entry.unreadable_at is not None
        assert entry.gone_at is None
    finally:
        await client.close()
    check(tables, {key: row for key, row in stored.items() if row["path"] != "/corrected"})

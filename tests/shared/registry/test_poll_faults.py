"""What the registry's poller keeps when ClickHouse, a load or the disk fails."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.registry import Replica, fetch, token_hash
from shared.registry.poll import Poller
from shared.registry.records import CLIENTS
from tests.parts import apply_schema, execute
from tests.shared.registry.rows import SITE, add_client, add_site


async def test_a_load_that_breaks_off_is_not_taken_for_a_registry(
    poller: Poller, tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_site(tables, 1, "example.com")
    add_client(tables, "edge", "secret", SITE.format(1))
    monkeypatch.setitem(CLIENTS.columns, "no_such_column", "String")
    assert not await poller.refresh()
    assert not poller.ready
    monkeypatch.undo()
    assert await poller.refresh()
    assert poller.replica.find_client(token_hash("secret"))


async def test_fewer_rows_than_were_counted_are_not_taken_for_all(
    poller: Poller, tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        add_site(tables, number, f"s{number}.example")

    async def cut_short(*_: object) -> AsyncIterator[list[object]]:
        yield []

    for rows in ("rows_in_force", "rows_after"):
        monkeypatch.setattr(fetch, rows, cut_short)
    assert not await poller.refresh()
    monkeypatch.undo()
    assert await poller.refresh()
    assert poller.replica.find_site("s2.example")


async def test_what_was_removed_between_two_attempts_to_load_is_not_in_force(
    poller: Poller, tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_site(tables, 1, "example.com")
    add_site(tables, 2, "second.example")
    add_client(tables, "edge", "secret", SITE.format(1))
    monkeypatch.setitem(CLIENTS.columns, "no_such_column", "String")
    assert not await poller.refresh()
    monkeypatch.undo()
    add_site(tables, 1, "example.com", removed=True)
    assert await poller.refresh()
    assert poller.replica.find_site("example.com") is None
    assert poller.replica.find_site("second.example")


@pytest.mark.processes
async def test_a_lost_control_database_leaves_the_registry_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A separate engine: its schema is dropped and created, and it is stopped."""
    caplog.set_level("INFO", "shared.registry.poll")
    engine = ClickHouseProcess(tmp_path / "clickhouse")
    engine.start()
    client = ClickHouse(engine.url, "hitline tests")
    replica = Replica(tmp_path / "state", "test")
    poller = Poller(replica, client)
    try:
        await apply_schema(engine.url)
        add_site(engine, 1, "example.com")
        assert await poller.refresh()
        execute(engine, "DROP DATABASE hitline_control SYNC")
        assert not await poller.refresh()
        assert not await poller.refresh()
        assert [record.getMessage() for record in caplog.records if "hitline migrate" in record.getMessage()]
        assert len(caplog.records) == 1, "an error is logged once"
        await apply_schema(engine.url)
        assert await poller.refresh()
        assert "older than this process's copy" in caplog.records[-1].getMessage()
        engine.stop()
        assert not await poller.refresh()
        assert "does not answer" in caplog.records[-1].getMessage()
        assert replica.find_site("example.com")
        engine.start()
        add_site(engine, 2, "second.example")
        assert await poller.refresh()
        assert replica.find_site("second.example")
        assert caplog.records[-1].getMessage() == "polling the registry works again"
    finally:
        engine.stop()
        await client.close()
        replica.close()


async def test_a_start_without_clickhouse_finds_the_last_known_registry(
    poller: Poller, tables: ClickHouseProcess, tmp_path: Path
) -> None:
    add_site(tables, 1, "example.com")
    await poller.refresh()
    poller.replica.close()
    again = Replica(tmp_path / "state", "test")
    try:
        late = Poller(again, ClickHouse("http://127.0.0.1:1", "hitline tests"))
        assert not await late.refresh()
        assert late.ready
        assert late.failing
        assert late.age_s < 60
        assert again.find_site("example.com")
    finally:
        again.close()
        poller.replica = Replica(tmp_path / "state", "test")


async def test_the_age_of_a_copy_survives_a_restart_and_a_clock_that_stood_still(
    poller: Poller, tables: ClickHouseProcess
) -> None:
    nowhere = ClickHouse("http://127.0.0.1:1", "hitline tests")
    assert Poller(poller.replica, nowhere).age_s == float("inf")
    add_site(tables, 1, "example.com")
    assert await poller.refresh()
    polled = poller.replica.polled_at_s
    later = Poller(poller.replica, nowhere, wall_clock=lambda: polled + 86_400)
    assert later.age_s == 86_400
    assert Poller(poller.replica, nowhere, wall_clock=lambda: polled - 500).age_s == 500, "of an unknown age"
    now = [polled]
    poller = Poller(poller.replica, poller._clickhouse, clock=lambda: 5.0, wall_clock=lambda: now[0])
    assert await poller.refresh()
    now[0] += 7_200  # the machine slept
    assert poller.age_s == 7_200
    assert await poller.refresh()
    assert poller.age_s == 0
    assert poller.replica.polled_at_s == now[0]


async def test_a_full_disk_keeps_the_copy_and_is_made_up_for(
    poller: Poller, tables: ClickHouseProcess, caplog: pytest.LogCaptureFixture
) -> None:
    add_site(tables, 1, "example.com")
    assert await poller.refresh()
    pages = poller.replica._writer.execute("PRAGMA page_count").fetchone()[0]
    poller.replica._writer.execute(f"PRAGMA max_page_count = {pages}")
    execute(
        tables,
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at)"
        " SELECT generateUUIDv4(), 's' || number, ['s' || number], now64(6) FROM numbers(5000)",
    )
    assert not await poller.refresh()
    assert poller.failing
    assert "can't write the registry's copy" in caplog.records[-1].getMessage()
    assert poller.replica.find_site("example.com")
    poller.replica._writer.execute("PRAGMA max_page_count = 1000000")
    assert await poller.refresh()
    assert all(poller.replica.find_site(f"s{number}") for number in range(5000))


async def test_the_copy_is_readable_by_its_user_only(poller: Poller, tables: ClickHouseProcess) -> None:
    add_site(tables, 1, "example.com")
    await poller.refresh()
    directory = poller.replica.path.parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}

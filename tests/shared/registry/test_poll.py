"""The registry's poller against the real engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.registry import Client, Grant, Replica, Site, store, token_hash
from shared.registry.poll import Poller
from shared.registry.records import Change
from shared.registry.touched import Touched
from shared.registry.window import OVERLAP_US
from tests.parts import execute
from tests.shared.registry.rows import SITE, add_client, add_site


async def test_a_site_and_a_client_arrive(poller: Poller, tables: ClickHouseProcess) -> None:
    assert not poller.ready
    add_site(tables, 1, "example.com")
    add_client(tables, "edge", "secret", SITE.format(1))
    assert await poller.refresh()
    assert poller.ready
    site = poller.replica.find_site("example.com")
    client = poller.replica.find_client(token_hash("secret"))
    assert site is not None
    assert client is not None
    assert poller.replica.may(client, "site.manage_data", site)
    assert (client.name, client.rate) == ("edge", "5/second")


async def test_an_empty_registry_is_not_ready_but_polled(poller: Poller) -> None:
    assert await poller.refresh()
    assert not poller.ready
    assert poller.age_s < 5


async def test_a_removed_site_disappears(poller: Poller, tables: ClickHouseProcess) -> None:
    add_site(tables, 1, "example.com")
    await poller.refresh()
    assert poller.replica.find_site("example.com")
    add_site(tables, 1, "example.com", removed=True)
    await poller.refresh()
    assert poller.replica.find_site("example.com") is None
    assert poller.ready


async def test_a_change_that_becomes_visible_late_is_found(poller: Poller, tables: ClickHouseProcess) -> None:
    now = time.time_ns() // 1000
    add_site(tables, 1, "example.com", version=now)
    await poller.refresh()
    add_site(tables, 2, "late.example", version=now - OVERLAP_US // 2)
    await poller.refresh()
    assert poller.replica.find_site("late.example")
    assert poller.replica.version == now


async def test_an_older_row_of_a_site_does_not_undo_a_newer_one(poller: Poller, tables: ClickHouseProcess) -> None:
    now = time.time_ns() // 1000
    add_site(tables, 1, "example.com", removed=True, version=now)
    await poller.refresh()
    add_site(tables, 1, "example.com", version=now - 1_000_000)
    await poller.refresh()
    assert poller.replica.find_site("example.com") is None


async def test_a_quiet_registry_keeps_caches_and_generation(poller: Poller, tables: ClickHouseProcess) -> None:
    add_site(tables, 1, "example.com")
    await poller.refresh()
    generation = poller.replica.generation
    site = poller.replica.find_site("example.com")
    for _ in range(3):
        await poller.refresh()
    assert poller.replica.generation == generation
    assert poller.replica.find_site("example.com") is site


async def test_many_rows_of_one_insert_all_arrive(poller: Poller, tables: ClickHouseProcess) -> None:
    execute(
        tables,
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at)"
        " SELECT generateUUIDv4(), 's' || number, ['s' || number], now64(6) FROM numbers(50000)",
    )
    await poller.refresh()
    missing = [number for number in range(0, 50_000, 97) if not poller.replica.find_site(f"s{number}")]
    assert missing == []


async def test_one_change_after_a_large_import_fetches_one_row(
    poller: Poller, tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(
        tables,
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at)"
        " SELECT generateUUIDv4(), 's' || number, ['s' || number], now64(6) FROM numbers(5000)",
    )
    await poller.refresh()
    await poller.refresh()
    fetched = 0
    apply = poller.replica.apply

    def counted(changes: Sequence[Change]) -> tuple[int, Touched]:
        nonlocal fetched
        fetched += len(changes)
        return apply(changes)

    monkeypatch.setattr(poller.replica, "apply", counted)
    add_site(tables, 1, "example.com")
    add_client(tables, "edge", "secret", SITE.format(1))
    generation = poller.replica.generation
    await poller.refresh()
    assert poller.replica.find_site("example.com")
    await poller.refresh()
    assert fetched == 2
    assert poller.replica.generation == generation + 3, "once for each table that changed"


async def test_a_process_that_starts_again_fetches_only_what_is_new_or_late(
    poller: Poller, tables: ClickHouseProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns() // 1000
    execute(
        tables,
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at, version)"
        f" SELECT generateUUIDv4(), 's' || number, ['s' || number], now64(6), {now} FROM numbers(5000)",
    )
    await poller.refresh()
    clickhouse = ClickHouse(tables.url, "hitline tests")
    fetched = []
    apply = Replica.apply

    def counted(replica: Replica, changes: Sequence[Change]) -> tuple[int, Touched]:
        fetched.append(len(changes))
        return apply(replica, changes)

    monkeypatch.setattr(Replica, "apply", counted)
    for change, expected in ((lambda: None, 0), (lambda: add_site(tables, 1, "new.example", version=now + 1), 1)):
        poller.replica.close()
        change()
        poller.replica = Replica(tmp_path / "state", "test")
        await Poller(poller.replica, clickhouse).refresh()
        assert sum(fetched) == expected
    poller.replica.close()
    add_site(tables, 2, "late.example", version=now - OVERLAP_US // 2)
    poller.replica = Replica(tmp_path / "state", "test")
    await Poller(poller.replica, clickhouse).refresh()
    assert poller.replica.find_site("late.example")
    assert poller.replica.version == now + 1
    await clickhouse.close()


async def test_callers_at_the_same_time_share_a_fetch(
    poller: Poller, tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = 0
    fetch = poller._fetch

    async def counted() -> bool:
        nonlocal fetches
        fetches += 1
        return await fetch()

    monkeypatch.setattr(poller, "_fetch", counted)
    assert all(await asyncio.gather(*(poller.refresh() for _ in range(50))))
    assert fetches <= 2


async def test_a_refresh_sees_what_was_written_before_it_was_called(poller: Poller, tables: ClickHouseProcess) -> None:
    add_site(tables, 1, "example.com")
    await poller.refresh()
    under_way = asyncio.create_task(poller.refresh())
    await asyncio.sleep(0)
    add_site(tables, 2, "second.example")
    await poller.refresh()
    assert poller.replica.find_site("second.example")
    await under_way


async def test_run_picks_up_a_change_and_ends_when_cancelled(poller: Poller, tables: ClickHouseProcess) -> None:
    running = asyncio.create_task(poller.run())
    add_site(tables, 1, "example.com")
    for _ in range(3_000):
        await asyncio.sleep(0.02)
        if poller.replica.find_site("example.com"):
            break
    assert poller.replica.find_site("example.com")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not poller._tasks


async def test_an_unchanged_registry_costs_one_small_statement(
    poller: Poller, tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_site(tables, 1, "example.com")
    await poller.refresh()
    await poller.refresh()
    asked: list[str] = []
    query = poller._clickhouse.query

    async def listening(sql: str, *rest: object) -> object:
        asked.append(sql)
        return await query(sql, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(poller._clickhouse, "query", listening)
    assert await poller.refresh()
    assert len(asked) == 1
    assert "system.tables" in asked[0]


async def test_a_grant_taken_away_late_and_merged_rows_are_found(poller: Poller, tables: ClickHouseProcess) -> None:
    client, site = Client(b"c" * 16, "edge"), Site(b"\1" * 16, "example.com", ("example.com",))
    other = Site(b"\2" * 16, "other.example", ("other.example",))
    grants = [Grant(client.client_id, "site.manage_data", each.site_id) for each in (site, other)]
    written = await store.put(poller._clickhouse, site, other, client, *grants)
    version = next(version for version, (first, *_) in written if isinstance(first, Grant))
    await poller.refresh()
    assert poller.replica.may(client, "site.manage_data", other)
    add_site(tables, 3, "third.example")
    await poller.refresh()
    execute(
        tables,
        "INSERT INTO hitline_control.grants (client_id, permission, site_id, removed, version) SELECT"
        f" client_id, permission, site_id, true, {version} + 1 FROM hitline_control.grants"
        " WHERE site_id = '02020202-0202-0202-0202-020202020202'",
    )
    execute(tables, "OPTIMIZE TABLE hitline_control.grants FINAL")
    assert await poller.refresh()
    assert poller.replica.may(client, "site.manage_data", site)
    assert not poller.replica.may(client, "site.manage_data", other)


async def test_a_process_fetches_the_tables_that_it_needs_and_knows_the_version_of_all(
    tables: ClickHouseProcess, tmp_path: Path
) -> None:
    clickhouse = ClickHouse(tables.url, "hitline tests", read_s=20)
    add_site(tables, 1, "example.com")
    add_client(tables, "edge", "secret", SITE.format(1))
    replica = Replica(tmp_path / "state", "test", ("sites",))
    try:
        assert await Poller(replica, clickhouse).refresh()
        assert replica.find_site("example.com")
        assert replica.find_client(token_hash("secret")) is None
        newest = execute(tables, "SELECT max(version) FROM hitline_control.clients")
        assert replica.version == int(newest)
    finally:
        replica.close()
        await clickhouse.close()


async def test_an_idle_process_polls_less_often_until_it_is_used(poller: Poller, tables: ClickHouseProcess) -> None:
    add_site(tables, 1, "example.com")
    idle = Poller(poller.replica, poller._clickhouse, poll_s=0.02, idle_s=60)
    running = asyncio.create_task(idle.run())
    while not idle._idling:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    add_site(tables, 2, "second.example")
    await asyncio.sleep(0.3)
    assert poller.replica.find_site("second.example") is None
    assert idle.used()
    assert await idle.refresh()
    assert poller.replica.find_site("second.example")
    add_site(tables, 3, "third.example")
    for _ in range(3_000):
        await asyncio.sleep(0.02)
        idle.used()
        if poller.replica.find_site("third.example"):
            break
    assert poller.replica.find_site("third.example")
    running.cancel()

"""The registry's tables against the real engine."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Exclusion, Grant, Site, store, token_hash
from shared.registry.records import SITES, TABLES, TABLES_BY_NAME, Change, Record
from tests.parts import execute

SITE = Site(
    uuid.uuid4().bytes, "example.com", ("example.com", "*.example.org"), "Europe/Berlin", 30, ("page", "q*"), ("sid",),
    hash_paths=True, derived_sessions=True,
)  # fmt: skip
CLIENT = Client(
    uuid.uuid4().bytes,
    "edge",
    frozenset({Grant(SITE.site_id, MANAGE_DATA), Grant(None, "site.read")}),
    "5/second",
    token_hash("secret"),
)
RULES = [
    Exclusion(uuid.uuid4().bytes, "path", "/a", SITE.site_id),
    Exclusion(uuid.uuid4().bytes, "country", "DE"),
]


@pytest.fixture
async def database(tables: ClickHouseProcess) -> AsyncIterator[ClickHouse]:
    client = ClickHouse(tables.url, "hitline tests", read_s=20)
    yield client
    await client.close()


async def fetched(database: ClickHouse, table: str) -> list[Change]:
    blocks = [block async for block in store.rows(database, TABLES_BY_NAME[table], 0)]
    return [change for block in blocks for change in store.to_changes(TABLES_BY_NAME[table], block)]


def without_time(record: Record) -> Record:
    assert record.created_us is not None
    return replace(record, created_us=None)


async def test_records_come_back_as_they_were_written(database: ClickHouse) -> None:
    everything: list[Record] = [SITE, CLIENT, *RULES]
    for record in everything:
        await store.put(database, record)
    assert [without_time(site) for site in await store.sites(database)] == [SITE]
    assert [without_time(client) for client in await store.clients(database)] == [CLIENT]
    assert [without_time(rule) for rule in await store.exclusions(database)] == RULES
    for table, records in (("sites", [SITE]), ("clients", [CLIENT]), ("exclusions", RULES)):
        changes = await fetched(database, table)
        assert {without_time(change.record) for change in changes} == set(records)
        assert not any(change.removed for change in changes)


async def test_a_change_keeps_the_time_of_creation_and_has_a_newer_version(database: ClickHouse) -> None:
    await store.put(database, SITE)
    (old,) = await store.sites(database)
    await store.put(database, replace(old, timezone="UTC"))
    (new,) = await store.sites(database)
    assert (new.created_us, new.timezone) == (old.created_us, "UTC")
    await store.remove(database, new)
    assert await store.sites(database) == []
    changes = sorted(await fetched(database, "sites"), key=lambda change: change.version)
    assert [change.removed for change in changes] == [False, False, True]
    assert len({change.version for change in changes}) == 3
    assert await store.site_history(database, "example.com", bytes(16)) == [(new, True)]
    assert await store.site_history(database, "", SITE.site_id) == [(new, True)]


async def test_of_sites_that_list_a_hostname_the_oldest_comes_first(database: ClickHouse) -> None:
    younger = replace(SITE, created_us=2_000_000)
    older = Site(b"\xff" * 16, "old.example", ("old.example", "example.com"), created_us=1_000_000)
    for site in (younger, older):
        await store.put(database, site)
    assert await store.sites_named(database, ["example.com"]) == [older, younger]
    assert await store.sites_named(database, ["*.example.org", "nobody.example"]) == [younger]
    await store.put(database, replace(older, hostnames=("old.example",)))
    assert await store.sites_named(database, ["example.com"]) == [younger], "what it listed once does not count"


async def test_a_malformed_grant_stops_neither_commands_nor_polling(
    database: ClickHouse, tables: ClickHouseProcess
) -> None:
    await store.put(database, CLIENT)
    execute(
        tables,
        "INSERT INTO hitline_control.clients (client_id, name, token_sha256, grants) SELECT"
        f" generateUUIDv4(), 'by hand', '{'0' * 64}', [('example.com', '{MANAGE_DATA}'), ('*', '{MANAGE_DATA}')]",
    )
    assert {client.name: client.grants for client in await store.clients(database)} == {
        "edge": CLIENT.grants,
        "by hand": frozenset({Grant(None, MANAGE_DATA)}),
    }
    assert len(await fetched(database, "clients")) == 2


@pytest.mark.parametrize("table", [table.name for table in TABLES.values()])
async def test_records_have_the_columns_of_the_schema(database: ClickHouse, table: str) -> None:
    result = await database.query(
        "SELECT name FROM system.columns WHERE database = 'hitline_control' AND table = {table:String}",
        {"table": table},
    )
    columns = {row[0] for row in result.result_rows}
    assert columns == {*TABLES_BY_NAME[table].columns, "created_at", "removed", "version"}
    assert SITES.key == "site_id"

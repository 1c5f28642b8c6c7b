"""The registry's tables against the real engine."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Exclusion, Grant, Site, fetch, store, token_hash
from shared.registry.records import SITES, TABLES, TABLES_BY_NAME, Change, Record
from tests.parts import execute

SITE = Site(
    uuid.uuid4().bytes, "example.com", ("example.com", "*.example.org"), "Europe/Berlin", 30, ("page", "q*"), ("sid",),
    hash_paths=True, derived_sessions=True,
)  # fmt: skip
CLIENT = Client(
    uuid.uuid4().bytes,
    "edge",
    "5/second",
    token_hash("secret"),
    old_grants=(("*", "site.read"),),
)
GRANTS = [Grant(CLIENT.client_id, MANAGE_DATA, SITE.site_id), Grant(CLIENT.client_id, "site.read")]
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
    blocks = [block async for block in fetch.rows_after(database, TABLES_BY_NAME[table], 0)]
    return [change for block in blocks for change in store.to_changes(TABLES_BY_NAME[table], block)]


def without_time(record: Record) -> Record:
    assert record.created_us is not None
    return replace(record, created_us=None)


async def test_records_come_back_as_they_were_written(database: ClickHouse) -> None:
    await store.put(database, SITE, CLIENT, *GRANTS, *RULES)
    assert [without_time(site) for site in await store.sites(database)] == [SITE]
    assert [without_time(client) for client in await store.clients(database)] == [CLIENT]
    assert {without_time(grant) for grant in await store.grants(database, CLIENT)} == set(GRANTS)
    assert {without_time(rule) for rule in await store.exclusions(database)} == set(RULES)
    copied = replace(CLIENT, old_grants=())
    for table, records in (("sites", [SITE]), ("clients", [copied]), ("grants", GRANTS), ("exclusions", RULES)):
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


async def test_what_is_in_force_is_read_without_its_past(database: ClickHouse) -> None:
    zeros = [Grant(CLIENT.client_id, MANAGE_DATA, id) for id in (b"\1" * 15 + b"\0", b"\0" * 15 + b"\1", bytes(16))]
    await store.put(database, SITE, CLIENT, *GRANTS, *zeros)
    packed = [client async for block in fetch.grants_in_force(database) for client in block]
    ids = {sites[at : at + 16] for _, permission, sites, _ in packed for at in range(0, len(sites), 16)}
    assert ids == {grant.site_id for grant in (*GRANTS, *zeros)}
    await store.remove(database, *zeros)
    (site,) = await store.sites(database)
    for zone in ("UTC", "Europe/Paris"):
        await store.put(database, replace(site, timezone=zone))
    await store.remove(database, GRANTS[1])
    rows = [row async for block in fetch.rows_in_force(database, SITES) for row in block]
    assert [change.record.timezone for change in store.to_changes(SITES, rows)] == ["Europe/Paris"]
    assert await fetch.count_in_force(database, SITES) == 1
    packed = [client async for block in fetch.grants_in_force(database) for client in block]
    ((client_id, permission, sites, versions),) = packed
    assert (client_id, permission, sites, len(versions)) == (CLIENT.client_id, MANAGE_DATA, SITE.site_id, 1)
    assert await fetch.count_grants(database) == 1
    await store.remove(database, site)
    assert [block async for block in fetch.rows_in_force(database, SITES)] == []
    assert await fetch.count_in_force(database, SITES) == 0


async def test_grants_in_arrays_of_the_version_before_become_rows_and_malformed_ones_nothing(
    database: ClickHouse, tables: ClickHouseProcess
) -> None:
    """A command of the version before adds a client; so may somebody by hand, with mistakes."""
    execute(
        tables,
        "INSERT INTO hitline_control.clients (client_id, name, token_sha256, grants) SELECT"
        f" generateUUIDv4(), 'by hand', '{'0' * 64}', [('example.com', '{MANAGE_DATA}'), ('*', '{MANAGE_DATA}'),"
        f" ('{uuid.UUID(bytes=SITE.site_id)}', 'site.read')]",
    )
    (client,) = await store.clients(database)
    expected = {Grant(client.client_id, MANAGE_DATA), Grant(client.client_id, "site.read", SITE.site_id)}
    assert {without_time(grant) for grant in await store.grants(database, client)} == expected
    removed = Grant(client.client_id, MANAGE_DATA)
    await store.remove(database, removed)
    await store.put(database, replace(client, rate="5/second"))
    assert {without_time(grant) for grant in await store.grants(database)} == expected - {removed}
    assert (await store.clients(database))[0].old_grants == client.old_grants, "gateways of the version before read it"


@pytest.mark.parametrize("table", [table.name for table in TABLES.values()])
async def test_records_have_the_columns_of_the_schema(database: ClickHouse, table: str) -> None:
    result = await database.query(
        "SELECT name FROM system.columns WHERE database = 'hitline_control' AND table = {table:String}",
        {"table": table},
    )
    columns = {row[0] for row in result.result_rows}
    more = {"grants_in_rows"} if table == "clients" else set()
    assert columns == {*TABLES_BY_NAME[table].columns, "created_at", "removed", "version", *more}

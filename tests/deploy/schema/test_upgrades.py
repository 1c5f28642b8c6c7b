"""From nothing, and from every earlier version with data in it, one and the same schema comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.schema import migrations
from deploy.schema.migrations import Migration
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.rollups import visits

pytestmark = pytest.mark.processes

FILES = migrations.read()
SCHEMA = (
    "SELECT database, name, create_table_query FROM system.tables WHERE database IN ('hitline', 'hitline_control')"
    " ORDER BY database, name FORMAT TSVRaw"
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    with ClickHouseProcess(tmp_path_factory.mktemp("upgrades")) as process:
        yield process


def apply(clickhouse: ClickHouseProcess, files: Sequence[Migration]) -> None:
    async def run() -> None:
        client = ClickHouse(clickhouse.url, "hitline tests")
        try:
            async for _ in migrations.migrate(client, files):
                pass
        finally:
            await client.close()

    parts.run_apart(run)


def start_over(clickhouse: ClickHouseProcess) -> None:
    for database in ("hitline", "hitline_control"):
        parts.execute(clickhouse, f"DROP DATABASE IF EXISTS {database} SYNC")


@pytest.fixture(scope="module")
def fresh_schema(bare: ClickHouseProcess) -> str:
    start_over(bare)
    apply(bare, FILES)
    return parts.execute(bare, SCHEMA)


def put(clickhouse: ClickHouseProcess, version: int) -> None:
    """Store pageviews and outcomes as a system of that version does."""
    visits.insert(clickhouse, visits.make(100, seed=version, sites=visits.PAIR))
    if version >= 2:
        parts.execute(
            clickhouse,
            "INSERT INTO hitline.outcomes_raw (batch_id, minutes, sites, clients, outcomes, counts, version) SELECT"
            " generateUUIDv4(), [now()], [generateUUIDv4()], [generateUUIDv4()], ['stored'], [7], 1",
        )


def pageviews(clickhouse: ClickHouseProcess) -> str:
    return parts.execute(clickhouse, "SELECT count(), groupBitXor(cityHash64(*)) FROM hitline.pageviews")


def outcomes(clickhouse: ClickHouseProcess) -> int:
    return int(parts.execute(clickhouse, "SELECT sum(pageviews) FROM hitline.outcomes"))


@pytest.mark.full
@pytest.mark.parametrize("version", range(1, len(FILES)))
def test_an_earlier_version_with_data_is_upgraded_to_the_current_schema(
    bare: ClickHouseProcess, fresh_schema: str, version: int
) -> None:
    start_over(bare)
    apply(bare, FILES[:version])
    put(bare, version)
    before = pageviews(bare)
    apply(bare, FILES)
    assert parts.execute(bare, SCHEMA) == fresh_schema
    assert pageviews(bare) == before
    if version >= 2:
        assert outcomes(bare) == 7


def test_data_of_every_version_come_through_all_later_ones(bare: ClickHouseProcess, fresh_schema: str) -> None:
    start_over(bare)
    for version in range(1, len(FILES) + 1):
        before = pageviews(bare) if version > 1 else ""
        apply(bare, FILES[:version])
        assert before in ("", pageviews(bare)), FILES[version - 1].name
        put(bare, version)
    assert parts.execute(bare, SCHEMA) == fresh_schema
    assert outcomes(bare) == 7 * (len(FILES) - 1)


def test_running_all_of_it_twice_changes_nothing(bare: ClickHouseProcess, fresh_schema: str) -> None:
    apply(bare, FILES)
    parts.execute(bare, "TRUNCATE TABLE hitline_control.migrations")  # as if no run had been recorded
    apply(bare, FILES)
    assert parts.execute(bare, SCHEMA) == fresh_schema


def test_grants_in_arrays_become_rows_once(bare: ClickHouseProcess) -> None:
    start_over(bare)
    number = next(file.number for file in FILES if file.name.endswith("_grants.sql"))
    apply(bare, FILES[: number - 1])
    site = "11111111-1111-1111-1111-111111111111"
    insert = (
        "INSERT INTO hitline_control.clients (client_id, name, token_sha256, grants, removed) SELECT"
        " '{id}', 'edge', repeat('0', 64), {grants}, {removed}"
    )
    ids = [f"22222222-2222-2222-2222-22222222222{n}" for n in range(3)]
    parts.execute(bare, insert.format(id=ids[0], grants="[('*', 'old')]", removed=False))
    parts.execute(bare, insert.format(id=ids[0], grants=f"[('{site}', 'x'), ('nonsense', 'x')]", removed=False))
    parts.execute(bare, insert.format(id=ids[1], grants="[('*', 'x')]", removed=True))
    apply(bare, FILES)
    parts.execute(bare, insert.format(id=ids[2], grants="[('*', 'x')]", removed=False))  # a command of before
    rows = (
        "SELECT client_id, permission, site_id FROM hitline_control.grants FINAL WHERE NOT removed ORDER BY client_id"
    )
    expected = f"{ids[0]}\tx\t{site}\n{ids[2]}\tx\t00000000-0000-0000-0000-000000000000\n"
    assert parts.execute(bare, rows) == expected
    parts.execute(
        bare,
        "INSERT INTO hitline_control.grants (client_id, permission, site_id, removed) SELECT"
        f" '{ids[0]}', 'x', '{site}', true",
    )
    for statement in FILES[number - 1].statements:  # as after an interruption
        parts.execute(bare, statement)
    assert parts.execute(bare, rows) == expected.partition("\n")[2]

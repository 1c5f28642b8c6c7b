"""What somebody dropped or altered is named, and restored where nothing can be lost by it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.schema import migrations
from deploy.schema.differences import differences
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.cli.conftest import runner_with


def words(text: str) -> list[str]:
    return sorted(re.findall(r"\w+", text))


@pytest.mark.processes
async def test_what_the_migrations_make_differs_in_nothing(tables: ClickHouseProcess) -> None:
    clickhouse = ClickHouse(tables.url, "hitline tests")
    try:
        assert await differences(clickhouse, migrations.read()) == []
    finally:
        await clickhouse.close()


@pytest.mark.processes
def test_what_is_missing_is_named_and_restored(tmp_path: Path) -> None:
    with ClickHouseProcess(tmp_path / "clickhouse") as bare:
        parts.run_apart(lambda: parts.apply_schema(bare.url))
        hitline = runner_with(parts.make_env(tmp_path / "state", bare))
        schema = (
            "SELECT database, name, create_table_query FROM system.tables"
            " WHERE database IN ('hitline', 'hitline_control') ORDER BY database, name FORMAT TSVRaw"
        )
        before = parts.execute(bare, schema)
        for statement in (
            "DROP VIEW hitline.sessions",
            "DROP TABLE hitline_control.sites SYNC",
            "DROP TABLE hitline.outcomes_raw SYNC",
            "ALTER TABLE hitline.pageviews_raw DROP COLUMN channel",
            "ALTER TABLE hitline_control.clients DROP COLUMN rate",
            "ALTER TABLE hitline.pageviews_raw ADD COLUMN mine String",
        ):
            parts.execute(bare, statement)

        assert "run `hitline migrate`" in hitline("site", "list", expect=1).stderr
        output = hitline("migrate", "--no-broker", "--check", expect=1)
        assert set(output.stdout.splitlines()) == {
            "clickhouse: up to date",
            "clickhouse: view hitline.sessions is missing",
            "clickhouse: table hitline_control.sites is missing",
            "clickhouse: table hitline.outcomes_raw is missing",
            "clickhouse: column channel of hitline.pageviews_raw is missing",
            "clickhouse: column rate of hitline_control.clients is missing",
            "clickhouse: column mine of hitline.pageviews_raw is not Hitline's",
        }
        assert (
            "5 missing: restore a backup, or run `hitline migrate --repair`"
            in hitline("migrate", "--no-broker", expect=1).stderr
        )

        assert "sites is missing: restored" in hitline("migrate", "--no-broker", "--repair").stdout
        hitline("migrate", "--no-broker", "--check")
        parts.execute(bare, "ALTER TABLE hitline.pageviews_raw DROP COLUMN mine")
        after = parts.execute(bare, schema)
        assert words(after) == words(before), "but for the order of columns"

        parts.execute(bare, "ALTER TABLE hitline_control.sites MODIFY COLUMN retention_days UInt64")
        assert (
            "column retention_days of hitline_control.sites is UInt64 instead of UInt32"
            in hitline("migrate", "--no-broker", "--repair").stdout
        )

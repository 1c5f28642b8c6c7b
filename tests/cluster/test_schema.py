"""The schema on two real replicas."""

from __future__ import annotations

import uuid

import pytest

from deploy.schema import migrations
from deploy.schema.differences import differences
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.cluster.cluster import CLUSTER, Cluster

pytestmark = [pytest.mark.full, pytest.mark.processes]


async def test_all_tables_replicate(cluster: Cluster) -> None:
    for url in cluster.urls:
        clickhouse = ClickHouse(url, "hitline tests", cluster=CLUSTER)
        tables = await clickhouse.query(
            "SELECT database, name, engine FROM system.tables"
            " WHERE database IN ('hitline', 'hitline_control') AND engine NOT LIKE '%View'"
        )
        assert len(tables.result_rows) > 20
        assert [row for row in tables.result_rows if not row[2].startswith("Replicated")] == []
        replicas = await clickhouse.query("SELECT DISTINCT total_replicas, is_readonly FROM system.replicas")
        assert replicas.result_rows == [(2, 0)]
        await clickhouse.close()


async def test_a_table_that_one_replica_lacks_is_made_as_the_same_table(cluster: Cluster) -> None:
    clickhouse = ClickHouse(" ".join(cluster.urls), "hitline tests", cluster=CLUSTER)
    files, (_, second) = migrations.read(), cluster.replicas
    assert await differences(clickhouse, files) == []
    parts.execute(second, "DROP TABLE hitline_control.reconciled SYNC")
    parts.execute(second, "DROP VIEW hitline.sessions SYNC")
    found = await differences(clickhouse, files)
    assert [each.text.partition(" (")[0] for each in found] == [
        "hitline.sessions is missing on replica 2",
        "hitline_control.reconciled is missing on replica 2",
    ]
    for each in found:
        for statement in each.repair:
            await clickhouse.command(statement)
    assert await differences(clickhouse, files) == []
    await clickhouse.insert("hitline_control.reconciled", ["pageviews"], [[7]], token="some")
    services.wait_for(lambda: parts.execute(second, "SELECT pageviews FROM hitline_control.reconciled") == "7\n")
    await clickhouse.close()


async def test_a_table_that_does_not_replicate_is_named(cluster: Cluster) -> None:
    clickhouse = ClickHouse(" ".join(cluster.urls), "hitline tests", cluster=CLUSTER)
    _, second = cluster.replicas
    create = parts.execute(second, "SHOW CREATE TABLE hitline_control.upkeep FORMAT TSVRaw")
    same = parts.execute(second, "SELECT uuid FROM system.tables WHERE name = 'upkeep'").strip()
    parts.execute(second, "DROP TABLE hitline_control.upkeep SYNC")
    parts.execute(second, create.replace(".upkeep\n", f".upkeep UUID '{uuid.uuid4()}'\n"))
    (found,) = await differences(clickhouse, migrations.read())
    assert found.text.startswith("hitline_control.upkeep is several tables that do not replicate each other: ")
    assert found.repair == ()
    parts.execute(second, "DROP TABLE hitline_control.upkeep SYNC")
    parts.execute(second, create.replace(".upkeep\n", f".upkeep UUID '{same}'\n"))
    await clickhouse.close()

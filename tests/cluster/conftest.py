"""The cluster that the tests of this directory share; without a ZooKeeper they are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from deploy.schema import migrations
from shared.clickhouse import ClickHouse
from tests import parts
from tests.cluster.cluster import CLUSTER, Cluster
from tests.cluster.zookeeper import jars


async def _migrate(urls: str) -> None:
    clickhouse = ClickHouse(urls, "hitline tests", cluster=CLUSTER)
    async for _ in migrations.migrate(clickhouse, migrations.read()):
        pass
    await clickhouse.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two replicas with Hitline's schema."""
    if jars() is None:
        pytest.skip("no ZooKeeper: apt-get install zookeeper, and set HITLINE_TEST_ZOOKEEPER=/usr/share/java")
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        parts.run_apart(partial(_migrate, running.environment["HITLINE_CLICKHOUSE_URL"]))
        yield running

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.registry import Replica
from shared.registry.poll import Poller


@pytest.fixture
async def poller(tables: ClickHouseProcess, tmp_path: Path) -> AsyncIterator[Poller]:
    client = ClickHouse(tables.url, "hitline tests", read_s=20)
    replica = Replica(tmp_path / "state", "test")
    yield Poller(replica, client, poll_s=0.05)
    replica.close()
    await client.close()


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    made = Replica(tmp_path / "state", "test")
    yield made
    made.close()

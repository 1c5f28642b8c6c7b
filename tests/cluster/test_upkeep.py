"""Rollups, erasing and their lease on two real replicas."""

from __future__ import annotations

import asyncio
import functools
import uuid

import pytest

from deploy.erasure import deletes
from deploy.rollups.lease import Lease
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.cluster.cluster import CLUSTER, Cluster, Replica

pytestmark = [pytest.mark.full, pytest.mark.processes]

_PAGEVIEWS = (
    "INSERT INTO hitline.pageviews_raw (site_id, timestamp, session_id, page_id, path, stored_at, batch_id, position)"
    " SETTINGS insert_quorum = 'auto'"
    " SELECT '{site}', now64(3) - number, generateUUIDv4(), generateUUIDv4(), '/page', now64(3) - 1, '{batch}', number"
    " FROM numbers(100)"
)


async def test_rollups_are_the_same_on_both_and_counted_once_from_either(cluster: Cluster) -> None:
    site = uuid.uuid4()
    for at, url in enumerate((*cluster.urls, *reversed(cluster.urls)), 1):
        parts.execute(cluster.replicas[at % 2], _PAGEVIEWS.format(site=site, batch=uuid.uuid4()))
        clickhouse = ClickHouse(url, "hitline tests", cluster=CLUSTER, read_s=60)
        await roll_up(clickhouse)
        await clickhouse.close()
        for replica in cluster.replicas:
            await asyncio.to_thread(services.wait_for, functools.partial(_has_counted, replica, site, 100 * at), 20)


def _has_counted(replica: Replica, site: uuid.UUID, pageviews: int) -> bool:
    sql = f"SELECT sum(pageviews) FROM hitline.daily WHERE dimension = '' AND site_id = '{site}'"
    return parts.execute(replica, sql) == f"{pageviews}\n"


async def test_one_process_at_a_time_whichever_replica_it_asks(cluster: Cluster) -> None:
    first, second = (ClickHouse(url, "hitline tests", cluster=CLUSTER) for url in cluster.urls)
    async with Lease(first):
        other = asyncio.create_task(_take_and_leave(second))
        await asyncio.sleep(3)
        assert not other.done()
    await asyncio.wait_for(other, 60)
    for clickhouse in (first, second):
        await clickhouse.close()


async def _take_and_leave(clickhouse: ClickHouse) -> None:
    async with Lease(clickhouse):
        pass


async def test_what_is_erased_is_unreadable_on_both(cluster: Cluster) -> None:
    site = uuid.uuid4()
    parts.execute(cluster.replicas[0], _PAGEVIEWS.format(site=site, batch=uuid.uuid4()))
    clickhouse = ClickHouse(cluster.urls[1], "hitline tests", cluster=CLUSTER)
    await deletes.delete(clickhouse, "pageviews_raw", "site_id = {site:UUID}", {"site": site})
    sql = f"SELECT count() FROM hitline.pageviews_raw WHERE site_id = '{site}'"
    assert [parts.execute(replica, sql) for replica in cluster.replicas] == ["0\n", "0\n"]
    await clickhouse.close()

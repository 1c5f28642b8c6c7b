"""Rows of the registry, inserted as no version of `hitline` has to."""

from __future__ import annotations

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.registry import token_hash
from tests.parts import execute

SITE = "00000000-0000-0000-0000-00000000000{}"


def add_site(
    clickhouse: ClickHouseProcess, number: int, hostname: str, *, removed: bool = False, version: int = 0
) -> None:
    row_version = str(version) if version else "toUnixTimestamp64Micro(now64(6))"
    execute(
        clickhouse,
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at, removed, version)"
        f" SELECT '{SITE.format(number)}', '{hostname}', ['{hostname}'], now64(6), {removed}, {row_version}",
    )


def add_client(clickhouse: ClickHouseProcess, name: str, token: str, site: str) -> None:
    execute(
        clickhouse,
        "INSERT INTO hitline_control.clients (client_id, name, token_sha256, grants, rate, created_at) SELECT"
        f" generateUUIDv4(), '{name}', '{token_hash(token)}', [('{site}', 'site.manage_data')], '5/second', now64(6)",
    )

"""The registry's tables as files, and back: all versions of all rows, in ClickHouse's Native format, gzipped."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from shared.clickhouse import ClickHouse

#: Tables of `hitline_control` that are kept.  Not the salts of derived sessions, which have to be gone in time; nor
#: leases, and what rollups note for their next run, which `hitline rollup --all` does without.
TABLES: Final = ("sites", "clients", "grants", "exclusions", "erasures")
_BLOCK: Final = 1 << 20


def file_of(directory: Path, table: str) -> Path:
    """Return where a table is kept."""
    return directory / f"{table}.native.gz"


async def save(clickhouse: ClickHouse, table: str, path: Path) -> None:
    """Write a table's rows to a file, a block at a time."""
    client = await clickhouse.client()
    stream = await client.raw_stream(f"SELECT * FROM hitline_control.{table}", fmt="Native")  # noqa: S608
    with gzip.open(path, "wb", compresslevel=6) as file:
        async with stream as blocks:
            async for block in blocks:
                file.write(block)


async def load(clickhouse: ClickHouse, table: str, path: Path) -> None:
    """Insert a file's rows into its table, a block at a time."""
    client = await clickhouse.client()
    settings = {"async_insert": 0, "insert_deduplicate": 0}
    await client.raw_insert(f"hitline_control.{table}", insert_block=_blocks(path), fmt="Native", settings=settings)


async def count(clickhouse: ClickHouse, table: str) -> int:
    """Return the number of rows in a table."""
    return int((await clickhouse.query(f"SELECT count() FROM hitline_control.{table}")).result_rows[0][0])  # noqa: S608


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with gzip.open(path, "rb") as file:
        while block := file.read(_BLOCK):
            yield block


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

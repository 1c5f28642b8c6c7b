"""Applying the numbered SQL files of this directory: each once, in order, with a checksum that is kept.

ClickHouse has neither transactions for DDL nor locks.  So every statement can be run twice (`IF NOT EXISTS` and the
like, which a test requires of all files), a file is recorded only after its last statement, and a record is a row
appended to `hitline_control.migrations`: an interrupted run is simply repeated, and concurrent runs do no harm.  The
checksum covers the statements without comments, so that comments can be corrected later.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.schema.render import render
from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import failure_of

_CANNOT_ASSIGN_ALTER: Final = 517
_ATTEMPTS: Final = 30
_PAUSE_S: Final = 1.0

DIRECTORY: Final = Path(__file__).parent

_RECORDS: Final = (
    "CREATE DATABASE IF NOT EXISTS hitline_control",
    """CREATE TABLE IF NOT EXISTS hitline_control.migrations
    (
        number      UInt32,
        name        String,
        checksum    String,
        applied_at  DateTime64(6, 'UTC') DEFAULT now64(6)
    )
    ENGINE = MergeTree ORDER BY (number, applied_at)
    SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1""",
)
_FILE_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
#: A comment, a quoted string or name, a semicolon, or anything between them.
_PIECE: Final = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|;|[^-/'`\";]+|.", re.DOTALL
)


class MigrationError(Exception):
    """The files or the records are inconsistent; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file."""

    number: int
    name: str
    statements: tuple[str, ...]

    @property
    def checksum(self) -> str:
        """SHA-256 in hex of the statements, white space collapsed."""
        text = ";".join(" ".join(statement.split()) for statement in self.statements)
        return hashlib.sha256(text.encode()).hexdigest()


def read(directory: Path = DIRECTORY) -> list[Migration]:
    """Read the directory's SQL files, in order; raises `MigrationError` for an invalid name or number."""
    found: dict[int, Migration] = {}
    for path in sorted(directory.glob("*.sql")):
        name = _FILE_NAME.fullmatch(path.name)
        if name is None:
            raise MigrationError(f"{path.name}: invalid migration name; use one like 0001_what_it_does.sql")
        number = int(name[1])
        if number in found:
            raise MigrationError(f"{path.name}: {found[number].name} already has this number; use the next free one")
        found[number] = Migration(number, path.name, split(path.read_text("utf-8")))
    return list(found.values())


def split(sql: str) -> tuple[str, ...]:
    """Split SQL text into statements without comments; semicolons in quotes do not split."""
    statements, current = [], ""
    for piece in _PIECE.findall(f"{sql};"):
        if piece == ";":
            statements.append(current.strip())
            current = ""
        elif not piece.startswith(("--", "/*")):
            current += piece
    return tuple(statement for statement in statements if statement)


async def applied(clickhouse: ClickHouse) -> dict[int, tuple[str, str]]:
    """Return name and checksum of the recorded migrations by number; the newest record of a number counts."""
    try:
        result = await clickhouse.query(
            "SELECT number, name, checksum FROM hitline_control.migrations ORDER BY applied_at"
        )
    except Exception as error:
        failure = failure_of(error)
        if failure and failure.no_schema:
            return {}
        raise
    return {number: (name, checksum) for number, name, checksum in result.result_rows}


def pending(files: Sequence[Migration], records: dict[int, tuple[str, str]]) -> list[Migration]:
    """Return the files that have not been applied yet.

    Raises `MigrationError` if one was changed after it was applied: the tables differ from what the file says.
    """
    for file in files:
        name, checksum = records.get(file.number, (file.name, file.checksum))
        if checksum != file.checksum:
            raise MigrationError(
                f"{file.name} was changed after it was applied (as {name}): restore it, and put the change"
                " into a new migration"
            )
    return [file for file in files if file.number not in records]


def unknown(files: Sequence[Migration], records: dict[int, tuple[str, str]]) -> list[str]:
    """Return the names of recorded migrations that this version of Hitline lacks: a newer version applied them."""
    known = {file.number for file in files}
    return [name for number, (name, _) in sorted(records.items()) if number not in known]


async def execute(clickhouse: ClickHouse, statement: str) -> None:
    """Run a statement that changes the schema.

    Of a cluster, a replica that has not applied the last change yet refuses the next one (517): it is tried again.
    """
    for attempt in range(_ATTEMPTS, 0, -1):
        try:
            await clickhouse.command(statement)
            return
        except Exception as error:
            failure = failure_of(error)
            if failure is None or failure.code != _CANNOT_ASSIGN_ALTER or attempt == 1:
                raise
            await asyncio.sleep(_PAUSE_S)


async def migrate(clickhouse: ClickHouse, files: Sequence[Migration]) -> AsyncIterator[Migration]:
    """Apply the pending files, yielding each one once it has been applied and recorded."""
    for statement in _RECORDS:
        await execute(clickhouse, render(statement, clickhouse.cluster))
    for file in pending(files, await applied(clickhouse)):
        for statement in file.statements:
            await execute(clickhouse, render(statement, clickhouse.cluster))
        await clickhouse.insert(
            "hitline_control.migrations",
            ["number", "name", "checksum"],
            [[file.number, file.name, file.checksum]],
            token=f"migration {file.number} {file.checksum}",
        )
        yield file

"""The engine: one anchor connection that keeps it alive, and a new connection for every request."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from chdb import _chdb

from deploy.local.clickhouse.errors import ClickHouseError, from_engine


@dataclass(frozen=True)
class Result:
    """A query's result: its bytes, and the counts for X-ClickHouse-Summary."""

    data: bytes = b""
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed_ns: int = 0


def quote(value: str) -> str:
    """Return a string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """Return a quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Connection:
    """A chDB connection, with settings, temporary tables and a database of its own. One query at a time."""

    def __init__(self, raw: Any):
        self._raw = raw

    def query(self, sql: str | bytes, fmt: str = "TabSeparated", params: Mapping[str, str] | None = None) -> Result:
        """Run one statement and return its whole result; raises ClickHouseError."""
        try:
            return _result(self._raw.query(sql, fmt, params=dict(params or {})))
        except RuntimeError as error:
            raise from_engine(error) from None

    def stream(
        self, sql: str | bytes, fmt: str, params: Mapping[str, str] | None = None
    ) -> Generator[Result, None, None]:
        """Run a SELECT and yield its result block by block; closing the generator early cancels the query."""
        try:
            handle = self._raw.send_query(sql, fmt, params=dict(params or {}))
            ended = False
            try:
                while True:
                    block = _result(self._raw.streaming_fetch_result(handle))
                    if not block.result_rows:
                        ended = True
                        if block.data:  # the heading of a result without rows
                            yield block
                        return
                    yield block
            except RuntimeError:
                ended = True
                raise
            finally:
                if not ended:
                    self._raw.streaming_cancel_query(handle)
        except RuntimeError as error:
            raise from_engine(error) from None

    def set(self, settings: Mapping[str, str]) -> None:
        """Change settings of this connection; raises ClickHouseError for an unknown one or a bad value."""
        if settings:
            changes = ", ".join(f"{identifier(name)} = {quote(value)}" for name, value in settings.items())
            self.query(f"SET {changes}")

    def use(self, database: str) -> None:
        """Make a database the current one."""
        self.query(f"USE {identifier(database)}")

    def settings(self, where: str) -> dict[str, tuple[str, bool]]:
        """Return the settings that match a condition on system.settings: value, and whether it was changed."""
        sql = f"SELECT name, value, changed FROM system.settings WHERE {where}"  # noqa: S608 - our own condition
        rows = self.query(sql, "JSONCompactEachRow")
        parsed = [json.loads(line) for line in rows.data.splitlines()]
        return {name: (value, bool(changed)) for name, value, changed in parsed}

    def database(self) -> str:
        """Return the current database."""
        name: str = json.loads(self.query("SELECT currentDatabase()", "JSONCompactEachRow").data)[0]
        return name

    def close(self) -> None:
        """Close it; its settings and temporary tables end with it."""
        self._raw.close()


def _result(got: Any) -> Result:
    return Result(
        data=got.bytes(),
        read_rows=got.storage_rows_read(),
        read_bytes=got.storage_bytes_read(),
        written_rows=got.rows_written(),
        written_bytes=got.bytes_written(),
        result_rows=got.rows_read(),
        elapsed_ns=int(got.elapsed() * 1e9),
    )


@contextmanager
def memory_file(pieces: list[memoryview]) -> Iterator[str]:
    """Return a path to the concatenated pieces, in memory only; it is removed at the end."""
    descriptor = os.memfd_create("insert")
    try:
        for piece in pieces:
            while piece:
                piece = piece[os.write(descriptor, piece) :]
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _make_default_database(metadata: Path) -> None:
    """Have the engine load an ordinary database `default`.

    chDB's own, which covers the file system, has another name (see users.load), but would be stored where the link
    `metadata/default` leads: later, the engine creates that link for the database of `default.sql`.
    """
    metadata.mkdir(parents=True, exist_ok=True)
    link, file = metadata / "default", metadata / "default.sql"
    # Earlier versions, without that file, stored the tables of `default` there.
    uuid = link.readlink().name if link.is_symlink() else str(uuid4())
    if not file.exists():
        file.write_text(f"ATTACH DATABASE _ UUID '{uuid}'\nENGINE = Atomic\n")
    link.unlink(missing_ok=True)


class Engine:
    """The engine of one data directory. A process can have only one, and a directory only one process.

    Raises ClickHouseError when it can't start: a directory in use, a bad configuration.
    """

    def __init__(self, path: Path, config_file: Path | None = None, settings: Iterable[str] = ()):
        """`settings`: what every query has unless it says otherwise, each as NAME=VALUE."""
        # chDB starts as clickhouse-local does; these put back what a server has.
        options = ["implicit_select=0", "allow_introspection_functions=0", *settings]
        if config_file:
            options.append(f"config-file={config_file}")
        self._address = f"{path}?{'&'.join(options)}"
        _make_default_database(path / "metadata")
        # Without an open connection chDB stops the engine.
        self._anchor = self.connect()
        row = self._anchor.query("SELECT version(), timezone()").data.decode().rstrip("\n")
        self.version, self.timezone = row.split("\t")

    def connect(self) -> Connection:
        """Return a new connection for a request or a session (takes 0.2 ms)."""
        try:
            return Connection(_chdb.connect(self._address))  # type: ignore[attr-defined]
        except RuntimeError as error:
            raise from_engine(error) from None

    def visible(self) -> set[str]:
        """Return the `log_comment` of every query in system.processes."""
        rows = self._anchor.query("SELECT Settings['log_comment'] FROM system.processes", "JSONCompactEachRow").data
        return {json.loads(line)[0] for line in rows.splitlines()}

    def kill(self, log_comment: str) -> None:
        """Cancel the queries with this comment, without waiting until they end; from any thread."""
        connection = self.connect()
        try:
            connection.query(f"KILL QUERY WHERE Settings['log_comment'] = {quote(log_comment)} ASYNC")
        finally:
            connection.close()

    def kill_all(self) -> None:
        """Cancel every query but this one, without waiting until they end."""
        self._anchor.query("KILL QUERY WHERE query_id != queryID() ASYNC")

    def close(self) -> None:
        """Stop the engine."""
        self._anchor.close()


__all__ = ["ClickHouseError", "Connection", "Engine", "Result", "identifier", "memory_file", "quote"]

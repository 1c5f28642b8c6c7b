"""Runs one query on the engine, in a thread of its own: unpack, connect, set up, execute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from deploy.local.clickhouse import blocks
from deploy.local.clickhouse import statement as statements
from deploy.local.clickhouse.encoding import decompress
from deploy.local.clickhouse.engine import Connection, Engine, Result, identifier, memory_file
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.processes_view import tag
from deploy.local.clickhouse.request import Query
from deploy.local.clickhouse.sessions import Sessions
from deploy.local.clickhouse.statement import Statement
from deploy.local.clickhouse.users import User

_DEFAULT_FORMAT = "TabSeparated"


@dataclass(frozen=True)
class Work:
    """A statement with its data, ready to run. `streams`: the result can be sent while the query runs."""

    statement: Statement
    data: list[memoryview]
    format: str
    streams: bool


def prepare(query: Query, limit_bytes: int) -> Work:
    """Unpack the body and find statement, data and output format; raises ClickHouseError."""
    body = decompress(query.body, query.encoding, limit_bytes)
    insert_format = query.default_format or "Values"
    if query.text.lstrip()[:6].upper() == "INSERT" or not body:
        text: bytes = query.text.encode() + (b"\n" if body else b"")
        statement = statements.read(text, insert_format)
        rest = [memoryview(text), memoryview(body)]
    else:
        # The server reads URL and body as one text.
        text = bytes(body) if not query.text else query.text.encode() + b"\n" + body
        statement = statements.read(text, insert_format)
        rest = [memoryview(text)]
    if statement.data_start is None:
        rest = []
    else:
        rest[0] = rest[0][statement.data_start :]
    fmt = statement.format or query.default_format or _DEFAULT_FORMAT
    return Work(statement, rest, fmt, blocks.can_stream(statement, fmt, query.settings))


@contextmanager
def connected(engine: Engine, sessions: Sessions, user: User, query: Query) -> Iterator[Connection]:
    """A connection with the user's rights and the request's settings, none of which outlives the request."""
    if query.session_id is None:
        connection = engine.connect()
        try:
            _set_up(connection, user, query)
            yield connection
        finally:
            connection.close()
        return
    key = (user.name, query.session_id)
    timeout_s = 0.0 if query.close_session else query.session_timeout_s
    with sessions.entered(key, timeout_s, query.session_check) as (connection, is_new):
        if is_new:
            user.put_on(connection, query.roles)
        if query.database:
            connection.use(query.database)
        with _settings_for_now(engine, connection, user, query) as ready:
            yield ready


def _set_up(connection: Connection, user: User, query: Query) -> None:
    connection.set({"log_comment": tag(user.name, query.query_id)})
    user.put_on(connection, query.roles)
    if query.database:
        connection.use(query.database)
    with _external(connection, query, drop=False):
        connection.set(query.settings)


@contextmanager
def _settings_for_now(engine: Engine, session: Connection, user: User, query: Query) -> Iterator[Connection]:
    """A session's connection with the request's settings, put back afterwards.

    What becomes readonly can't be put back, so that runs on a connection of its own with the session's settings
    (and without its temporary tables).
    """
    if "readonly" in query.settings:
        changed = session.settings("changed AND name NOT IN ('log_comment', 'readonly')")
        connection = engine.connect()
        try:
            connection.set({name: value for name, (value, _) in changed.items()})
            _set_up(connection, user, replace(query, database=query.database or session.database()))
            yield connection
        finally:
            connection.close()
        return
    try:
        session.set({"log_comment": tag(user.name, query.query_id)})
    except ClickHouseError as error:
        if error.code != 164:  # a session that has set itself readonly: its id stays the one before
            raise
    names = ", ".join(f"'{name}'" for name in query.settings if name.isidentifier())
    before = session.settings(f"name IN ({names})") if names else {}
    try:
        with _external(session, query, drop=True):
            session.set(query.settings)
            yield session
    finally:
        for name, (value, was_changed) in before.items():
            if was_changed:
                session.set({name: value})
            else:
                session.query(f"SET {name} = DEFAULT")


@contextmanager
def _external(connection: Connection, query: Query, drop: bool) -> Iterator[None]:
    """The request's external data as temporary tables; a session has to lose them again."""
    for table in query.external:
        connection.query(f"CREATE TEMPORARY TABLE {identifier(table.name)} ({table.structure})")
        with memory_file([memoryview(table.data)]) as path:
            connection.query(f"INSERT INTO {identifier(table.name)} FROM INFILE '{path}' FORMAT {table.format}")
    try:
        yield
    finally:
        for table in query.external if drop else ():
            connection.query(f"DROP TEMPORARY TABLE {identifier(table.name)}")


def run(connection: Connection, query: Query, work: Work) -> Result:
    """Run to the end on a connection that has been set up."""
    statement = work.statement
    if statement.insert_format is None:
        return connection.query(statement.sql, work.format, query.params)
    with memory_file(work.data) as path:
        result = connection.query(statement.sql_reading(path), work.format, query.params)
    # The engine counts the rows it read from the memory file as a result; a server's insert has none.
    return replace(result, data=b"", read_rows=result.written_rows, read_bytes=result.written_bytes)

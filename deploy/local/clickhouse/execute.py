"""Runs one query on the engine, in a separate thread: unpack, connect, set up, execute."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import reduce

from deploy.local.clickhouse import blocks, native_compression, native_protocol
from deploy.local.clickhouse import statement as statements
from deploy.local.clickhouse.encoding import decompress
from deploy.local.clickhouse.engine import Connection, Engine, Result, identifier, memory_file
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.limits import check_statement
from deploy.local.clickhouse.processes_view import tag
from deploy.local.clickhouse.request import Query
from deploy.local.clickhouse.sessions import Sessions
from deploy.local.clickhouse.statement import INPUT_TABLE, Statement
from deploy.local.clickhouse.streaming import merged
from deploy.local.clickhouse.users import User

_DEFAULT_FORMAT = "TabSeparated"


@dataclass(frozen=True)
class Work:
    """A statement with its data, ready to run. `streams`: the result can be sent while the query runs."""

    statement: Statement
    data: list[memoryview]
    format: str
    streams: bool

    @property
    def speaks_native(self) -> bool:
        """Whether its result depends on the version of the client's protocol."""
        return self.format.lower() == "native" and self.statement.has_result


def prepare(query: Query, limit_bytes: int) -> Work:
    """Unpack the body and find statement, data and output format; raises ClickHouseError."""
    body = decompress(query.body, query.encoding, limit_bytes)
    if query.decompress:
        body = native_compression.decompress(body, limit_bytes)
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
    check_statement(len(text) if statement.data_start is None else statement.data_start, query.settings)
    if statement.data_start is None:
        rest = []
    else:
        rest[0] = rest[0][statement.data_start :]
    fmt = statement.format or query.default_format or _DEFAULT_FORMAT
    return Work(statement, rest, fmt, blocks.can_stream(statement, fmt, query.settings))


@contextmanager
def connected(
    engine: Engine, sessions: Sessions, user: User, query: Query, statement: Statement
) -> Iterator[Connection]:
    """Return a connection with the user's rights and the request's settings, which end with the request."""
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
        with (
            _database_for_now(connection, query.database, statement),
            _settings_for_now(engine, connection, user, query, statement) as ready,
        ):
            yield ready


def _set_up(connection: Connection, user: User, query: Query) -> None:
    connection.set({"log_comment": tag(user.name, query.query_id)})
    user.put_on(connection, query.roles)
    if query.database:
        connection.use(query.database)
    with _set_with_external_data(connection, user, query, drop=False):
        pass


@contextmanager
def _database_for_now(session: Connection, database: str | None, statement: Statement) -> Iterator[None]:
    """Use the request's database, and the session's again afterwards, unless the statement chooses another."""
    before = session.database() if database else None
    if database:
        session.use(database)
    try:
        yield
    finally:
        if before and statement.kind != "USE":
            with suppress(ClickHouseError):  # it was dropped meanwhile
                session.use(before)


@contextmanager
def _settings_for_now(
    engine: Engine, session: Connection, user: User, query: Query, statement: Statement
) -> Iterator[Connection]:
    """A session's connection with the request's settings, put back afterwards.

    What becomes readonly can't be put back, so that runs on a separate connection with the session's settings
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
        with _set_with_external_data(session, user, query, drop=True):
            yield session
    finally:
        for name, (value, was_changed) in before.items():
            if statement.kind == "SET" and name.upper().encode() in statement.words:
                continue  # it is the session's from now on
            if was_changed:
                session.set({name: value})
            else:
                session.query(f"SET {name} = DEFAULT")


@contextmanager
def _set_with_external_data(connection: Connection, user: User, query: Query, drop: bool) -> Iterator[None]:
    """Apply the request's settings and put its external data into temporary tables; `drop`: drop these at the end.

    A server asks for no grant for these.
    """
    # The settings also say how the data are read; only `readonly` would forbid to put them anywhere.
    connection.set({name: value for name, value in query.settings.items() if name != "readonly"})
    if query.external:
        with user.with_temporary_tables(connection, query.roles):
            for table in query.external:
                connection.query(f"CREATE TEMPORARY TABLE {identifier(table.name)} ({table.structure})")
                with memory_file([memoryview(table.data)]) as path:
                    connection.query(f"INSERT INTO {identifier(table.name)} FROM INFILE '{path}' FORMAT {table.format}")
    connection.set({name: value for name, value in query.settings.items() if name == "readonly"})
    try:
        yield
    finally:
        for table in query.external if drop else ():
            connection.query(f"DROP TEMPORARY TABLE {identifier(table.name)}")


def run(connection: Connection, query: Query, work: Work) -> Result:
    """Run to the end on a connection that has been set up."""
    statement = work.statement
    if statement.insert_format is None:
        if not (work.speaks_native and query.protocol_version):
            return connection.query(statement.sql, work.format, query.params)
        if statement.reads:
            return reduce(merged, stream(connection, query, work), Result())
        result = connection.query(statement.sql, work.format, query.params)
        return native_protocol.whole(result, query.protocol_version)
    if statement.input_structure is not None:
        result = _run_with_input(connection, query, work, statement.input_structure)
    else:
        with memory_file(work.data) as path:
            result = connection.query(statement.sql_reading(path), work.format, query.params)
    # The engine counts the rows it read from the memory file as a result; a server's insert has none.
    return replace(result, data=b"", read_rows=result.written_rows, read_bytes=result.written_bytes)


def stream(connection: Connection, query: Query, work: Work) -> Generator[Result, None, None]:
    """Run a SELECT and yield its result block by block; closing the generator early cancels the query."""
    if work.speaks_native and query.protocol_version:
        return native_protocol.stream(connection, work.statement, query.params, query.protocol_version)
    return connection.stream(work.statement.sql, work.format, query.params)


def _run_with_input(connection: Connection, query: Query, work: Work, structure: str) -> Result:
    """Run an insert that selects from the table function input()."""
    connection.query(f"CREATE TEMPORARY TABLE {INPUT_TABLE} ({structure})")
    try:
        with memory_file(work.data) as path:
            connection.query(f"INSERT INTO {INPUT_TABLE} FROM INFILE '{path}' FORMAT {work.statement.insert_format}")
        return connection.query(work.statement.sql, work.format, query.params)
    finally:
        connection.query(f"DROP TEMPORARY TABLE {INPUT_TABLE}")


def expressions(query: Query, work: Work) -> Iterator[bytes]:
    """Yield every text of a request that the engine reads as SQL: the statement, values, structures of tables."""
    statement = work.statement
    yield statement.sql
    if statement.insert_format and statement.insert_format.lower() == "values":
        yield b"".join(work.data)
    if statement.input_structure:
        yield statement.input_structure.encode()
    for table in query.external:
        yield table.structure.encode()

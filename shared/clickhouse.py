"""ClickHouse over HTTP: a connection that is made when first needed, may fail, and is tried again the next time.

Processes start while ClickHouse is away, so nothing connects at import or construction.  What clickhouse-connect
(1.12) repeats by itself, read from its source: a connect that timed out, once, nothing was sent; a statement whose
connection was closed by the server, once, when it only reads.  It would repeat an *insert*, too, and is kept from it:
such an insert may have been executed, and whether a token keeps it from being stored twice, or swallows it, is only
known by looking (worker/store/insert.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from clickhouse_connect.driver._backend.models import QueryRuntime
    from clickhouse_connect.driver.asyncclient import AsyncClient
    from clickhouse_connect.driver.query import QueryResult

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 60.0

#: Codes (src/Common/ErrorCodes.cpp) that mean "the schema is not there": `hitline migrate` has not run.
UNKNOWN_TABLE: Final = 60
UNKNOWN_DATABASE: Final = 81
#: Codes that mean "this user or password may not".
_DENIED: Final = frozenset({192, 193, 194, 497, 516})


class ClickHouseAddress(NamedTuple):
    """The parts of `HITLINE_CLICKHOUSE_URL`."""

    secure: bool
    host: str
    port: int
    user: str
    password: str

    def __str__(self) -> str:
        """Without the user and the password: what a log or an error may show."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


class BadAddress(ValueError):
    """`HITLINE_CLICKHOUSE_URL` is malformed; the text says how, without quoting it."""


def parse_address(url: str) -> ClickHouseAddress:
    """Split `http[s]://user:password@host:port`; user and password percent-encoded where need be.

    A database may follow and is not used, since every statement of ours names its own.  Raises `BadAddress`.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadAddress("HITLINE_CLICKHOUSE_URL: host or port is malformed") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadAddress("HITLINE_CLICKHOUSE_URL: must look like http://user:password@host:8123")
    if parts.query or parts.fragment:
        raise BadAddress("HITLINE_CLICKHOUSE_URL: settings in the URL are not read, leave out what follows '?' or '#'")
    secure = parts.scheme == "https"
    return ClickHouseAddress(
        secure=secure,
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
    )


class Failure(NamedTuple):
    """What went wrong, as far as the error tells."""

    #: ClickHouse's own error code and name; None where ClickHouse did not answer (a proxy's 502 is no answer of its).
    code: int | None
    name: str | None

    @property
    def reachable(self) -> bool:
        """False: ClickHouse gave no answer, so whether it executed a statement is unknown unless that only reads."""
        return self.code is not None

    @property
    def no_schema(self) -> bool:
        """The tables are not there."""
        return self.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE)

    @property
    def denied(self) -> bool:
        """User, password or grants are not enough."""
        return self.code in _DENIED


def failure_of(error: BaseException) -> Failure | None:
    """Classify an error raised by this module or by clickhouse-connect.

    None: neither ClickHouse nor the network failed, such as values that don't fit a column's type (`DataError`).
    """
    from clickhouse_connect.driver.exceptions import DatabaseError, DataError, ProgrammingError

    if isinstance(error, (OSError, asyncio.TimeoutError)):
        return Failure(None, None)
    if isinstance(error, DatabaseError) and not isinstance(error, (DataError, ProgrammingError)):
        return Failure(error.code, error.name)
    return None


def explain(error: BaseException, address: ClickHouseAddress) -> str:
    """Say in one line what an operator should do about an error; never quotes a password or inserted values."""
    failure = failure_of(error)
    if failure is None:
        return f"ClickHouse at {address}: {type(error).__name__}"
    if not failure.reachable:
        return f"ClickHouse at {address} does not answer: is it running, and is HITLINE_CLICKHOUSE_URL right?"
    if failure.no_schema:
        return f"ClickHouse at {address} has no Hitline tables: run `hitline migrate`"
    if failure.denied:
        return (
            f"ClickHouse at {address} refuses user or password, or the user lacks a grant ({failure.name}, code"
            f" {failure.code}): see HITLINE_CLICKHOUSE_URL"
        )
    return f"ClickHouse at {address} answers with error {failure.code} ({failure.name})"


class ClickHouse:
    """A lazily made client; all methods may be called side by side from one event loop.

    `client_name` is shown in ClickHouse's query log.  `read_s` is how long an answer may take.
    """

    def __init__(
        self, url: str, client_name: str, *, read_s: float = READ_SECONDS, compress: bool | str = True
    ) -> None:
        self.address = parse_address(url)
        self._client_name = client_name
        self._read_s = read_s
        self._compress = compress
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def client(self) -> AsyncClient:
        """Return the connected client, connecting now where that has not succeeded yet.

        Raises what `failure_of` classifies; the next call tries again.
        """
        if self._client is None:
            async with self._connecting:
                if self._client is None:
                    self._client = await self._connect()
        return self._client

    async def _connect(self) -> AsyncClient:
        from clickhouse_connect.driver.asyncclient import AsyncClient

        client = AsyncClient(
            interface="https" if self.address.secure else "http",
            host=self.address.host,
            port=self.address.port,
            username=self.address.user,
            password=self.address.password,
            compress=self._compress,
            connect_timeout=CONNECT_SECONDS,
            send_receive_timeout=self._read_s,
            client_name=self._client_name,
            # Statements of one session may not run side by side, and none here needs a session.
            autogenerate_session_id=False,
            # Repeating is ours to decide; see the module's docstring for what is left.
            query_retries=0,
            # Below the 10 s after which servers of the 23 line close an idle connection (newer ones: 30 s).
            keepalive_timeout=8.0,
            tz_mode="aware",
        )
        # A proxy that the environment names is for the Internet, not for the database beside us.
        client._backend.proxy_url = None
        _leave_repeating_inserts_to_us(client)
        try:
            return await client.__aenter__()
        except ssl.SSLError as error:
            raise ConnectionError(f"TLS to {self.address} failed: {error.reason}") from None

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> QueryResult:
        """Run a statement that reads; `{name:Type}` in it is filled from `parameters` by the server."""
        client = await self.client()
        result = await client.query(sql, parameters=dict(parameters or {}))
        _demand_own_answer(result.summary.get("query_id", ""))
        return result

    async def command(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a statement that changes something; it is never repeated by itself."""
        client = await self.client()
        return await client.command(sql, parameters=dict(parameters or {}), settings=dict(settings or {}))

    async def insert(
        self,
        table: str,
        columns: Sequence[str],
        data: Sequence[Sequence[Any]],
        *,
        token: str,
        settings: Mapping[str, Any] | None = None,
        column_type_names: Sequence[str] | None = None,
        column_oriented: bool = False,
    ) -> None:
        """Insert synchronously; returns once ClickHouse has the rows as durably as the table's settings say.

        `token` must be of exactly these rows: it lets ClickHouse know a repeated insert, and swallows other rows
        under the same one.  Without `column_type_names` the table is asked for its types first, each time.
        """
        if not token:
            raise ValueError("an insert needs a deduplication token: its caller may repeat it")
        client = await self.client()
        chosen = {"async_insert": 0, **(settings or {}), "insert_deduplication_token": token}
        summary = await client.insert(
            table,
            data,
            column_names=columns,
            column_type_names=column_type_names,
            column_oriented=column_oriented,
            settings=chosen,
        )
        _demand_own_answer(summary.query_id())

    async def close(self) -> None:
        """Close all connections; the next use opens them anew."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _leave_repeating_inserts_to_us(client: AsyncClient) -> None:
    """Have an insert whose connection was closed raise; no option of the client's does that."""
    insert = client._backend.execute_data_insert

    async def insert_once(context: Any, runtime: QueryRuntime, body: Any, retry_body: Any) -> dict[str, Any]:
        return await insert(context, replace(runtime, retryable=False), body, retry_body)

    client._backend.execute_data_insert = insert_once  # type: ignore[method-assign]


def _demand_own_answer(query_id: str) -> None:
    """Raise `ConnectionError` where something else answers in ClickHouse's place.

    A proxy's "back soon" with status 200, or behind a redirect, is success to the client: rows would be taken for
    stored.  ClickHouse itself always names the query, in `X-ClickHouse-Query-Id`.
    """
    if not query_id:
        raise ConnectionError("an answer that is not ClickHouse's: it has no X-ClickHouse-Query-Id")

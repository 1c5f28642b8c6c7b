"""ClickHouse over HTTP: the connection is opened when first needed; if that fails, the next use tries again.

Processes start while ClickHouse is down, so nothing connects at import or construction.  No statement that changes
something is repeated here, nor by the client (shared/clickhouse_client.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shared import clickhouse_client
from shared import cluster as clusters
from shared.certificates import Authorities
from shared.clickhouse_address import ClickHouseAddress, parse_addresses
from shared.clickhouse_client import require_clickhouse
from shared.clickhouse_errors import ReplicaBehind, failure_of

if TYPE_CHECKING:
    from clickhouse_connect.driver.asyncclient import AsyncClient
    from clickhouse_connect.driver.external import ExternalData
    from clickhouse_connect.driver.query import QueryResult

Result = TypeVar("Result")

READ_SECONDS: Final = 60.0

_REPLICATED: Final = (
    "SELECT database || '.' || name FROM system.tables"
    " WHERE database IN ('hitline', 'hitline_control') AND engine LIKE 'Replicated%'"
)
_BEHIND: Final = (
    "SELECT table FROM system.replicas"
    " WHERE database = {database:String} AND (is_readonly OR is_session_expired OR absolute_delay > 30) LIMIT 1"
)


class ClickHouse:
    """A client that connects lazily; all methods may be called concurrently from one event loop.

    `client_name` is shown in ClickHouse's query log.  `read_s` is how long an answer may take.  `settings` are those of
    every statement that has none of its own by that name.

    `url` may name several replicas: one is used until it does not answer or can't take part, then the next.  `stays`:
    only until it is connected, so that it reads what it wrote.  `cluster`: the name by which statements reach all.
    """

    def __init__(
        self,
        url: str,
        client_name: str,
        *,
        read_s: float = READ_SECONDS,
        compress: bool | str = True,
        settings: Mapping[str, Any] | None = None,
        cluster: str = "",
        stays: bool = False,
    ) -> None:
        self._addresses = parse_addresses(url)
        self._at = 0
        self._stays = stays
        self.cluster = cluster
        self._client_name = client_name
        self._read_s = read_s
        self._compress = compress
        self._settings = {**(clusters.SETTINGS if cluster else {}), **(settings or {})}
        self._clients: dict[int, AsyncClient] = {}
        self._connecting = asyncio.Lock()
        self._authorities = Authorities(())
        self._retired: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> ClickHouseAddress:
        """The replica in use."""
        return self._addresses[self._at]

    async def client(self) -> AsyncClient:
        """Return the connected client, connecting first if that has not succeeded yet.

        Raises what `failure_of` classifies once no replica can be connected to; the next call tries again.
        """
        if self._at not in self._clients or self._authorities_changed():
            async with self._connecting:
                if self._authorities_changed():
                    clients, self._clients = self._clients, {}
                    for client in clients.values():
                        self._retire(client)
                await self._connect_to_any()
        return self._clients[self._at]

    async def _connect_to_any(self) -> None:
        for left in range(len(self._addresses) - 1, -1, -1):
            if self._at in self._clients:
                return
            try:
                self._clients[self._at] = await self._connect()
            except Exception as error:
                self._leave(self._at, error)
                if not left or failure_of(error) is None:
                    raise

    def _leave(self, at: int, error: Exception) -> None:
        """Use the next replica from now on if it may succeed where this one failed."""
        failure = failure_of(error)
        if at == self._at and failure and clusters.is_better_elsewhere(failure.code):
            self._at = (at + 1) % len(self._addresses)

    async def _run(self, send: Callable[[AsyncClient], Awaitable[Result]]) -> Result:
        client, at = await self.client(), self._at
        try:
            return await send(client)
        except Exception as error:
            if not self._stays:
                self._leave(at, error)
            raise

    def _authorities_changed(self) -> bool:
        """Return whether the client's TLS context was made of files that have been renewed since."""
        return self.address.secure and Authorities.now() != self._authorities

    def _retire(self, client: AsyncClient) -> None:
        """Close a client once the statements that it is running must have ended."""

        async def close_later() -> None:
            try:
                await asyncio.sleep(self._read_s)
            finally:
                await client.close()

        task = asyncio.create_task(close_later())
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def _connect(self) -> AsyncClient:
        self._authorities = Authorities.now()
        return await clickhouse_client.connect(
            self.address, self._client_name, read_s=self._read_s, compress=self._compress, settings=self._settings
        )

    async def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        external: ExternalData | None = None,
    ) -> QueryResult:
        """Run a statement that reads; the server fills `{name:Type}` in it from `parameters`.

        `external`: sets that the statement reads as tables, since neither its text nor a parameter may be long.
        """
        result = await self._run(
            lambda client: client.query(
                sql, parameters=dict(parameters or {}), settings=dict(settings or {}), external_data=external
            )
        )
        require_clickhouse(result.summary.get("query_id", ""))
        return result

    async def command(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a statement that changes something; it is never retried automatically."""
        return await self._run(
            lambda client: client.command(sql, parameters=dict(parameters or {}), settings=dict(settings or {}))
        )

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

        `token` must be derived from exactly these rows: ClickHouse recognises a repeated insert by it, and silently
        drops other rows with the same token.  Without `column_type_names` each insert first queries the table's types.
        """
        if not token:
            raise ValueError("an insert needs a deduplication token, since its caller may repeat it")
        chosen = {"async_insert": 0, **(settings or {}), "insert_deduplication_token": token}
        summary = await self._run(
            lambda client: client.insert(
                table,
                data,
                column_names=columns,
                column_type_names=column_type_names,
                column_oriented=column_oriented,
                settings=chosen,
            )
        )
        require_clickhouse(summary.query_id())

    async def catch_up(self, *tables: str) -> None:
        """Wait until the replica in use has all that was inserted into these tables (or all); a single server has.

        Raises what `failure_of` classifies where it can't be fetched, as with a replica that died with the only copy.
        """
        if not self.cluster:
            return
        for table in tables or [name for (name,) in (await self.query(_REPLICATED)).result_rows]:
            await self.command(f"SYSTEM SYNC REPLICA {table} LIGHTWEIGHT")

    async def require_current(self, database: str) -> None:
        """Raise `ConnectionError` if the replica in use may lack what others of its cluster have had for a while."""
        if not self.cluster:
            return
        behind = (await self.query(_BEHIND, {"database": database})).result_rows
        if behind:
            error = ReplicaBehind(
                f"ClickHouse at {self.address} has no session with Keeper, or is 30 s behind the other replicas"
            )
            if not self._stays:
                self._leave(self._at, error)
            raise error

    async def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)

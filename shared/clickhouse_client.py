"""Making a client of clickhouse-connect that repeats no insert, uses no proxy and leaves the event loop to others.

According to its source clickhouse-connect (1.12) retries two kinds of statement: once, a connect that timed out
(nothing was sent); and once, a statement that only reads and whose connection the server closed.  It would also retry
an *insert*, which is prevented here: the insert may have been executed, and whether its token prevents a duplicate, or
swallows the retry, can only be found out by a look-up (worker/store/insert.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from shared.clickhouse_address import ClickHouseAddress

# Its modules are imported where a client is made, not by each process that only imports this one.
if TYPE_CHECKING:
    from clickhouse_connect.driver._backend.models import QueryRuntime
    from clickhouse_connect.driver.asyncclient import AsyncClient
    from clickhouse_connect.driver.external import ExternalData

_CONNECT_SECONDS: Final = 5.0


async def connect(
    address: ClickHouseAddress, client_name: str, *, read_s: float, compress: bool | str, settings: Mapping[str, Any]
) -> AsyncClient:
    """Return a client that has reached the server; raises what `failure_of` classifies.

    `client_name` is shown in ClickHouse's query log, `read_s` is how long an answer may take.
    """
    from clickhouse_connect.driver import options
    from clickhouse_connect.driver.asyncclient import AsyncClient

    # Nothing here has data frames, and to look for some the first insert imports them where they are installed:
    # a second in which the event loop stands still, and 60 MiB.
    options.pd = options.pd_time_test = options.np = None
    client = AsyncClient(
        interface="https" if address.secure else "http",
        host=address.host,
        port=address.port,
        username=address.user,
        password=address.password,
        compress=compress,
        settings=dict(settings),
        connect_timeout=_CONNECT_SECONDS,
        send_receive_timeout=read_s,
        client_name=client_name,
        # Statements of one session can't run concurrently, and none here needs a session.
        autogenerate_session_id=False,
        # Retries are decided by the callers; see the module's docstring for what the client still retries.
        query_retries=0,
        # Below the 10 s after which 23.x servers close an idle connection (newer ones: 30 s).
        keepalive_timeout=8.0,
        tz_mode="aware",
    )
    # A proxy in the environment is for the Internet, not for the database.
    client._backend.proxy_url = None
    _prevent_insert_retries(client)
    try:
        return await client.__aenter__()
    except ssl.SSLError as error:
        raise ConnectionError(f"TLS to {address} failed: {error.reason}") from None


def table_of_lines(name: str, structure: str, lines: bytes) -> ExternalData:
    """Return a table to send with a statement, `structure` as "a UUID, b Date"; `lines` are tab-separated values."""
    from clickhouse_connect.driver.external import ExternalData

    return ExternalData(file_name=name, data=lines, fmt="TSV", structure=structure.replace(", ", ",").split(","))


def require_clickhouse(query_id: str) -> None:
    """Raise `ConnectionError` if something other than ClickHouse answered.

    To the client a proxy's "back soon" page with status 200, or after a redirect, is success: rows would count as
    stored.  ClickHouse always names the query, in `X-ClickHouse-Query-Id`.
    """
    if not query_id:
        raise ConnectionError("the answer is not from ClickHouse: it has no X-ClickHouse-Query-Id header")


def _prevent_insert_retries(client: AsyncClient) -> None:
    """Make an insert whose connection was closed raise instead of being retried; the client has no option for that."""
    insert = client._backend.execute_data_insert

    async def insert_once(context: Any, runtime: QueryRuntime, body: Any, retry_body: Any) -> dict[str, Any]:
        return await insert(context, replace(runtime, retryable=False), body, retry_body)

    client._backend.execute_data_insert = insert_once  # type: ignore[method-assign]

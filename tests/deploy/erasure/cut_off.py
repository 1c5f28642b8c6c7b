"""Work that ends at a statement, as if its process had been killed there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse


class CutOff(ClickHouse):
    """Ends at a statement, before it is sent or when ClickHouse has done it, as if its process had been killed."""

    #: The number of the statement, or what the first such statement begins with.
    at: int | str = 0
    afterwards = False
    sent = 0

    async def query(self, *arguments: Any, **named: Any) -> Any:
        return await self._counted(super().query, *arguments, **named)

    async def command(self, *arguments: Any, **named: Any) -> Any:
        return await self._counted(super().command, *arguments, **named)

    async def insert(self, *arguments: Any, **named: Any) -> None:
        await self._counted(super().insert, *arguments, **named)

    async def _counted(self, work: Any, sql: str, *arguments: Any, **named: Any) -> Any:
        self.sent += 1
        ends = self.sent == self.at if isinstance(self.at, int) else sql.lstrip().startswith(self.at)
        if ends and not self.afterwards:
            raise KilledError
        result = await work(sql, *arguments, **named)
        if ends:
            raise KilledError
        return result


class KilledError(Exception):
    pass


async def until_cut_off(
    clickhouse: ClickHouseProcess, work: Callable[[ClickHouse], Awaitable[object]], at: int | str, *, afterwards: bool
) -> bool:
    """Do some work; returns whether it was cut off, before a statement was sent or when it had been done.

    `at`: the statement's number, or what the first such statement begins with.
    """
    client = CutOff(clickhouse.url, "hitline tests")
    await client.client()
    client.at, client.afterwards = at, afterwards
    try:
        await work(client)
    except KilledError:
        return True
    finally:
        await client.close()
    return False

"""Work that ends at a statement, as if its process had been killed there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse


class CutOff(ClickHouse):
    """Ends at a statement, before it is sent or when ClickHouse has done it, as if its process had been killed."""

    left = 0
    afterwards = False

    async def query(self, *arguments: Any, **named: Any) -> Any:
        return await self._counted(super().query, *arguments, **named)

    async def command(self, *arguments: Any, **named: Any) -> Any:
        return await self._counted(super().command, *arguments, **named)

    async def insert(self, *arguments: Any, **named: Any) -> None:
        await self._counted(super().insert, *arguments, **named)

    async def _counted(self, work: Any, *arguments: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.afterwards:
            raise KilledError
        result = await work(*arguments, **named)
        if self.left == 0:
            raise KilledError
        return result


class KilledError(Exception):
    pass


async def until_cut_off(
    clickhouse: ClickHouseProcess, work: Callable[[ClickHouse], Awaitable[object]], at: int, *, afterwards: bool
) -> bool:
    """Do some work; returns whether it was cut off at that statement, before it was sent or when it had been done."""
    client = CutOff(clickhouse.url, "hitline tests")
    await client.client()
    client.left, client.afterwards = at, afterwards
    try:
        await work(client)
    except KilledError:
        return True
    finally:
        await client.close()
    return False

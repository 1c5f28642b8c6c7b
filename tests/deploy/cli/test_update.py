"""Commands that change one record of the registry at the same time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from deploy.cli.support import CommandError
from deploy.cli.update import end, update
from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.registry import Client, Site, store

SITE = Site(bytes(15) + b"s", "example.com", ("example.com",), "UTC")
CLIENT = Client(bytes(15) + b"c", "edge", "", "68" * 32)


class Interrupted(ClickHouse):
    """Another command does something between a version of this one's first row and its insert."""

    before: Callable[[], Awaitable[Any]] | None = None

    async def insert(self, *arguments: Any, **named: Any) -> Any:
        before, self.before = self.before, None
        if before:
            await before()
        return await super().insert(*arguments, **named)


@pytest.fixture
async def control(tables: ClickHouseProcess) -> AsyncIterator[ClickHouse]:
    connected = ClickHouse(tables.url, "hitline tests")
    await store.put(connected, SITE, CLIENT)
    yield connected
    await connected.close()


@pytest.fixture
async def interrupted(tables: ClickHouseProcess) -> AsyncIterator[Interrupted]:
    connected = Interrupted(tables.url, "hitline tests")
    yield connected
    await connected.close()


def listing(hostname: str) -> Callable[[Site], Site]:
    """A change that adds a hostname."""
    return lambda site: dataclasses.replace(site, hostnames=tuple(dict.fromkeys([*site.hostnames, hostname])))


def limited(client: Client) -> Client:
    return dataclasses.replace(client, rate="5/second")


async def test_of_changes_at_the_same_time_none_is_lost(control: ClickHouse) -> None:
    names = [f"{number}.example" for number in range(5)]

    await asyncio.gather(*(update(control, SITE, listing(name)) for name in names))

    (site,) = await store.sites(control)
    assert set(site.hostnames) == {"example.com", *names}


async def test_a_change_that_was_written_meanwhile_is_kept(control: ClickHouse, interrupted: Interrupted) -> None:
    interrupted.before = lambda: update(control, SITE, lambda site: dataclasses.replace(site, timezone="Asia/Tokyo"))

    returned = await update(interrupted, SITE, listing("more.example"))

    (site,) = await store.sites(control)
    assert (site.timezone, site.hostnames) == ("Asia/Tokyo", ("example.com", "more.example"))
    assert returned.hostnames == site.hostnames


async def test_a_client_revoked_meanwhile_stays_revoked(control: ClickHouse, interrupted: Interrupted) -> None:
    interrupted.before = lambda: end(control, CLIENT)

    with pytest.raises(CommandError, match="edge was removed by another command"):
        await update(interrupted, CLIENT, limited)

    assert await store.clients(control) == []


async def test_a_client_whose_limit_is_changed_meanwhile_is_revoked(
    control: ClickHouse, interrupted: Interrupted
) -> None:
    async def first() -> None:
        await asyncio.sleep(0.002)  # longer than versions are spread
        await store.put(control, limited(CLIENT))

    interrupted.before = first  # its version is the newer one: the row that removes the client has one already

    await end(interrupted, CLIENT)

    assert await store.clients(control) == []


async def test_two_who_want_different_things_end(control: ClickHouse) -> None:
    def to(rate: str) -> Callable[[Client], Client]:
        return lambda client: dataclasses.replace(client, rate=rate)

    answers = await asyncio.gather(
        *(update(control, CLIENT, to(f"{number}/second")) for number in (1, 2)), return_exceptions=True
    )

    (client,) = await store.clients(control)
    assert client.rate in {"1/second", "2/second"}
    assert all(isinstance(answer, Client | CommandError) for answer in answers)

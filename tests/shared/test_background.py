"""A process that lost a part ends, rather than live on without it."""

from __future__ import annotations

import asyncio

import pytest

from shared.admin import Admin
from shared.background import BackgroundFailed, background


def admin() -> Admin:
    return Admin("127.0.0.1", 0, lambda: None, lambda: None)


async def forever() -> None:
    await asyncio.Event().wait()


async def broken() -> None:
    raise RuntimeError("a defect")


async def test_work_that_fails_stops_the_process() -> None:
    stop = asyncio.Event()
    with pytest.raises(BackgroundFailed):
        async with background(admin(), stop, forever(), broken()):
            await asyncio.wait_for(stop.wait(), 60)


async def cancelled() -> None:
    raise asyncio.CancelledError  # as a library does to what waits on a connection that died


async def test_work_cancelled_by_a_library_stops_the_process() -> None:
    stop = asyncio.Event()
    with pytest.raises(BackgroundFailed):
        async with background(admin(), stop, forever(), cancelled()):
            await asyncio.wait_for(stop.wait(), 60)


async def test_work_goes_on_until_the_block_is_left() -> None:
    stop = asyncio.Event()
    async with background(admin(), stop, forever()):
        await asyncio.sleep(0)
    assert not stop.is_set()

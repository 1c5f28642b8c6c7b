"""What runs beside a process's main work for as long as that lasts: connections, polls, the private port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from shared.admin import Admin
from shared.process import settle_garbage_collector

log = logging.getLogger(__name__)


class BackgroundFailed(Exception):
    """Something that must run for ever has ended: the process is of no use any more, and should be started anew."""


@contextlib.asynccontextmanager
async def background(admin: Admin, stop: asyncio.Event, *work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Serve the private port and run `work` until the block is left.

    Work that ends by itself sets `stop`, so that the block drains as at a signal, and raises `BackgroundFailed` behind
    it: a supervisor's restart mends more than a process that lives on with a part missing.
    """
    try:
        await admin.start()
    except BaseException:
        for each in work:
            each.close()
        raise
    settle_garbage_collector()
    failed: list[BaseException | None] = []
    leaving = False

    def ended(task: asyncio.Task[None]) -> None:
        if leaving and task.cancelled():
            return
        # Cancelled, but not by us: a library ends what waits on a dying connection in that way.
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        failed.append(error)
        log.critical("a part of the process ended, stopping", exc_info=error)
        stop.set()

    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        leaving = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await admin.stop()
    if failed:
        raise BackgroundFailed

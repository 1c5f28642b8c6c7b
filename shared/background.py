"""Background tasks that run as long as the process does its main work: connections, polls, the private port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from shared.admin import Admin
from shared.loop_lag import watch_loop
from shared.process import settle_garbage_collector

log = logging.getLogger(__name__)


class BackgroundFailed(Exception):
    """A task that must never end has ended: the process can no longer do its work and should be restarted."""


@contextlib.asynccontextmanager
async def background(admin: Admin, stop: asyncio.Event, *work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Serve the private port and run `work` until the block is left.

    Work that ends before that sets `stop`, so that the block drains as after a signal, and raises `BackgroundFailed`
    afterwards: a restart by the supervisor helps more than continuing with a part missing.
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
        # Cancelled, but not by us: a library does that to tasks that wait on a connection that is lost.
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        failed.append(error)
        log.critical("a background task ended unexpectedly; stopping the process", exc_info=error)
        stop.set()

    tasks = [asyncio.create_task(each) for each in (*work, watch_loop())]
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

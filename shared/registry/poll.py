"""Keeping a process's replica of the registry fresh from ClickHouse.

What ClickHouse does not have any more is never taken away: a database that was lost or restored from an old backup,
or an address that points elsewhere, must not turn into 404s and dropped pageviews.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from shared.clickhouse import ClickHouse, explain, failure_of
from shared.registry.fetch import OVERLAP_US, TABLES, Look, Window, look, rows, to_changes
from shared.registry.replica import Replica

POLL_SECONDS: Final = 2.0
#: Between tries while ClickHouse is away; a change must take effect within 5 s of its return, too.
LONGEST_PAUSE_SECONDS: Final = 4.0

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Poller:
    """Polls while `run` runs; `refresh` polls at once."""

    def __init__(
        self,
        replica: Replica,
        clickhouse: ClickHouse,
        *,
        poll_s: float = POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.replica = replica
        self._clickhouse = clickhouse
        self._poll_s = poll_s
        self._clock = clock
        self._succeeded_at = -1.0
        self._known = {table: Window(replica.version, rows=-1) for table in TABLES}
        self._passes = asyncio.Lock()
        self._next: asyncio.Task[bool] | None = None
        self._tasks: set[asyncio.Task[bool]] = set()
        self._complaint = ""

    @property
    def ready(self) -> bool:
        """True once the replica holds a registry, be it an old one: requests may be judged by it."""
        return not self.replica.empty

    @property
    def age_s(self) -> float:
        """Seconds since the last successful poll; infinite before the first."""
        return self._clock() - self._succeeded_at if self._succeeded_at >= 0 else float("inf")

    async def run(self) -> None:
        """Poll until cancelled; nothing of it is left running then."""
        failures = 0
        try:
            while True:
                failures = 0 if await self.refresh() else failures + 1
                pause = min(self._poll_s * 2 ** min(failures, 4), LONGEST_PAUSE_SECONDS) if failures else self._poll_s
                # Jitter, so that a hundred processes started together don't ask together for ever.
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def refresh(self) -> bool:
        """Fetch what is new now; True: the replica has all that ClickHouse had when this was called.

        False: it could not be asked (logged).  Callers at the same time share one fetch.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after_current())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._tasks.discard)
        return await asyncio.shield(self._next)

    async def _after_current(self) -> bool:
        # A fetch that is under way may have passed by what a caller waits for, so those who come now share the next.
        async with self._passes:
            self._next = None
            return await self._pass()

    async def _pass(self) -> bool:
        try:
            behind = await self._fetch()
        except asyncio.CancelledError:
            raise
        except sqlite3.Error as error:
            return self._complain(f"the registry's copy {self.replica.path} can't be written: {error}")
        except Exception as error:
            if failure_of(error) is None:
                log.debug("polling the registry failed", exc_info=True)
                return self._complain(f"polling the registry failed unexpectedly: {type(error).__name__}")
            return self._complain(f"{explain(error, self._clickhouse.address)}; going on with the registry at hand")
        self._succeeded_at = self._clock()
        if behind:
            self._complain(
                "ClickHouse's registry is older than this process's copy, which stays in use; if that is meant to be"
                " so (another or a restored database), stop the process and delete registry-* from HITLINE_STATE_DIR"
            )
        elif self._complaint:
            self._complaint = ""
            log.info("the registry is being refreshed again")
        return True

    def _complain(self, complaint: str) -> bool:
        """Log a complaint when it is another one than the last time; returns False for the caller to return."""
        if complaint != self._complaint:
            log.warning("%s", complaint)
            self._complaint = complaint
        return False

    async def _fetch(self) -> bool:
        """Apply all that is new; returns whether ClickHouse holds less than the replica."""
        found = await look(self._clickhouse, self._known)
        for table, now in found.items():
            await self._fetch_table(table, now)
        newest = max(now.latest for now in found.values())
        if newest > self.replica.version:
            await _in_thread(self.replica.complete, newest)
            self.replica.refreshed(news=False)
        return newest < self.replica.version

    async def _fetch_table(self, table: str, now: Look) -> None:
        """Apply what is new in a table, and what came late."""
        known = self._known[table]
        if now.last_rows != known.rows:
            await self._apply(table, known.newest - OVERLAP_US, now.last_rows + now.new_rows)
        elif now.new_rows:
            await self._apply(table, known.newest, now.new_rows)
        self._known[table] = now.window

    async def _apply(self, table: str, after: int, expected: int) -> None:
        """Apply a table's rows above a version; raises `ConnectionError` when there are fewer than were counted."""
        news = count = 0
        try:
            async for block in rows(self._clickhouse, table, after):
                count += len(block)
                news += await _in_thread(lambda block=block: self.replica.apply(to_changes(table, block)))
        finally:
            if news:
                self.replica.refreshed()
        if count < expected:
            raise ConnectionError(f"{count} rows of {table} came instead of {expected}")


async def _in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run `work` off the loop; cancelled, still wait for it, since its thread goes on and its file would be closed."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise

"""Keeping a process's replica of the registry up to date with ClickHouse.

What is missing from ClickHouse is never deleted here: a database that was lost or restored from an old backup, or an
address that points elsewhere, must not turn into 404s and dropped pageviews.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from shared.backoff import Backoff
from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import explain, failure_of
from shared.registry.load import apply_after, in_thread, load
from shared.registry.records import TABLES_BY_NAME, Table
from shared.registry.replica import Replica
from shared.registry.window import OVERLAP_US, Look, Marker, Window, look, read_marker

#: On average; a change must take effect within 5 s.
POLL_SECONDS: Final = 4.2
#: How far polls of several processes are spread: this part of the pause more or less.
_JITTER: Final = 0.08
#: Between polls of a process that has nothing to decide.
IDLE_SECONDS: Final = 12.0
#: Between attempts while ClickHouse is down; a change must take effect within 5 s of its return, too.
MAX_PAUSE_SECONDS: Final = 4.0
#: How often the time of the last poll is written to the replica.
_NOTE_S: Final = 10.0

log = logging.getLogger(__name__)


class Poller:
    """Polls while `run` runs; `refresh` polls at once."""

    def __init__(
        self,
        replica: Replica,
        clickhouse: ClickHouse,
        *,
        poll_s: float = POLL_SECONDS,
        idle_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.replica = replica
        self._clickhouse = clickhouse
        self._poll_s = poll_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._succeeded_at = -1.0
        self._polled_at_s = self._noted_at_s = replica.polled_at_s  # by the wall clock
        #: Whether the last poll that has ended failed; False before the first has ended.
        self.failing = False
        self._kept = replica.windows() if replica.version else {}
        self._known = {table: self._kept.get(table, Window(replica.version, rows=-1)) for table in TABLES_BY_NAME}
        self._marker: Marker = None
        self._behind = False
        self._idle_s = idle_s
        #: Whether the copy was used since the last poll.
        self._in_use = True
        self._idling = False
        self._wake = asyncio.Event()
        self._passes = asyncio.Lock()
        self._next: asyncio.Task[bool] | None = None
        self._tasks: set[asyncio.Task[bool]] = set()
        self._last_problem = ""

    @property
    def ready(self) -> bool:
        """True once the replica holds a registry, even an old one: requests can be decided by it."""
        return not self.replica.empty

    @property
    def age_s(self) -> float:
        """Seconds since the last successful poll, also one before the process was started; infinite without any.

        The larger one of two clocks: a monotonic clock may stand still while the machine sleeps, and the wall clock
        may be set.  A poll that lies ahead of the wall clock counts as that long ago.
        """
        if self._polled_at_s == 0:
            return float("inf")
        by_wall_clock = abs(self._wall_clock() - self._polled_at_s)
        return max(by_wall_clock, self._clock() - self._succeeded_at if self._succeeded_at >= 0 else 0.0)

    async def run(self) -> None:
        """Poll until cancelled; afterwards no task of it is left running."""
        backoff = Backoff(min(2 * self._poll_s, MAX_PAUSE_SECONDS), min(16 * self._poll_s, MAX_PAUSE_SECONDS))
        # A hundred processes that were started together don't poll together.
        part = random.uniform(0.2, 1)
        try:
            while True:
                succeeded = await self.refresh()
                self._idling = False
                if succeeded:
                    backoff.reset()
                    await self._pause(part)
                    part = random.uniform(1 - _JITTER, 1 + _JITTER)
                else:
                    await asyncio.sleep(backoff.next_s())
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pause(self, part: float) -> None:
        """Wait for the next poll; a process that is idle polls less often, and at once when it is not idle any more."""
        self._idling = self._idle_s is not None and not self._in_use
        pause_s = self._idle_s if self._idling and self._idle_s is not None else self._poll_s
        self._in_use = False
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(part * pause_s):
                await self._wake.wait()

    def used(self) -> bool:
        """Note that something is decided by the copy: with `idle_s`, only then is it polled every `poll_s`.

        Returns whether the process was idle, and the copy may be `idle_s` old: until `refresh` has been awaited.
        """
        self._in_use = True
        if self._idling:
            self._wake.set()
        return self._idling

    async def refresh(self) -> bool:
        """Fetch what is new; returns True if the replica has everything that ClickHouse had when this was called.

        False: ClickHouse could not be queried (logged).  Concurrent callers share one fetch.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after_current())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._tasks.discard)
        return await asyncio.shield(self._next)

    async def _after_current(self) -> bool:
        # A fetch already under way may have missed what a caller waits for, so callers share the next one.
        async with self._passes:
            self._next = None
            return await self._pass()

    async def _pass(self) -> bool:
        try:
            behind = await self._fetch()
            await self._note()
        except asyncio.CancelledError:
            raise
        except sqlite3.Error as error:
            self.failing = True
            return self._report(f"can't write the registry's copy {self.replica.path}: {error}")
        except Exception as error:
            self.failing = True
            if failure_of(error) is None:
                log.debug("polling the registry failed", exc_info=True)
                return self._report(f"polling the registry failed unexpectedly: {type(error).__name__}")
            return self._report(f"{explain(error, self._clickhouse.address)}; using the registry as last fetched")
        self.failing = False
        if behind:
            self._report(
                "ClickHouse's registry is older than this process's copy, which stays in use; if that is intended"
                " (another database, or a restored one), stop the process and delete registry-* in HITLINE_STATE_DIR"
            )
        elif self._last_problem:
            self._last_problem = ""
            log.info("polling the registry works again")
        return True

    async def _note(self) -> None:
        """Note that the replica is as new as ClickHouse."""
        self._succeeded_at = self._clock()
        self._polled_at_s = self._wall_clock()
        if self.replica.version and abs(self._polled_at_s - self._noted_at_s) >= _NOTE_S:
            await in_thread(self.replica.note_poll, self._polled_at_s)
            self._noted_at_s = self._polled_at_s

    def _report(self, problem: str) -> bool:
        """Log a problem unless it is the same as last time; returns False for the caller to return."""
        if problem != self._last_problem:
            log.warning("%s", problem)
            self._last_problem = problem
        return False

    async def _fetch(self) -> bool:
        """Apply everything new; returns whether ClickHouse has less than the replica."""
        marker = await read_marker(self._clickhouse)
        if marker is not None and marker == self._marker:
            return self._behind
        found = await look(self._clickhouse, self._known)
        for table, now in found.items():
            if table in self.replica.tables:
                await self._fetch_table(TABLES_BY_NAME[table], now)
            self._known[table] = now.window
        newest = max(now.latest for now in found.values())
        if newest > self.replica.version or self._known != self._kept:
            await in_thread(self.replica.complete, newest, self._known)
            self._kept = dict(self._known)
            self.replica.refreshed()
        self._marker = marker
        self._behind = newest < self.replica.version
        return self._behind

    async def _fetch_table(self, table: Table, now: Look) -> None:
        """Apply a table's new rows, and those that became visible late; or all that is in force, to begin with."""
        known = self._known[table.name]
        if not known.newest:
            if now.latest:
                await load(self._clickhouse, table, self.replica)
        elif now.last_rows != known.rows:
            await apply_after(self._clickhouse, table, self.replica, known.newest - OVERLAP_US, now.late_or_new)
        elif now.new:
            await apply_after(self._clickhouse, table, self.replica, known.newest, now.new)

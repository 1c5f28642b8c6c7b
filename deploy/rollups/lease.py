"""One writer at a time, of rollups or of folded outcomes, wherever it runs: a lease in ClickHouse, which has no locks.

Taking it is an insert under a deduplication token of the epoch's number: of several processes that reach for the same
epoch, ClickHouse keeps one row, and whoever then reads its own name there holds the lease.  The holder renews it; one
that isn't renewed for `LEASE_S` is taken over, at once if its process ran on this machine and is gone.

Should a holder of the rollups be stopped for longer and go on afterwards, it can do no harm: whatever it still writes
carries the number of a run that others have finished, with the same values, or have thrown away.  Statements that can't
be repeated are sent under the condition `Lease.held`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from shared.clickhouse import ClickHouse
from shared.cluster import everywhere

LEASE_S: Final = 30.0
_RENEW_S: Final = 5.0
_POLL_S: Final = 0.5
#: How many numbers a holder may give to runs; the next holder's are larger.
_NUMBERS: Final = 100_000

_NEWEST: Final = (
    "SELECT tick, epoch, owner, released, dateDiff('millisecond', at, now64(3)) / 1000,"
    " toUInt64(toUnixTimestamp64Micro(now64(6))) FROM {table} ORDER BY version DESC LIMIT 1"
)
#: True while the epoch that is given as the parameter `epoch` is the newest.
HELD: Final = "(SELECT max(epoch) FROM {table}) = {{epoch:UInt64}}"
_INSERT: Final = (
    "INSERT INTO {table} (tick, epoch, owner, released)"
    " SELECT {{tick:UInt64}}, {{epoch:UInt64}}, {{owner:String}}, {{released:Bool}}"
    " WHERE (SELECT max(epoch) FROM {table}) = {{newest:UInt64}}"
)
#: Statements of a holder that died may still run, on any replica.
_LEFTOVER: Final = (
    "SELECT query_id FROM {processes} WHERE query_kind = 'Insert' AND position(query, {{text:String}}) > 0"
)


class LeaseLost(Exception):
    """Another process has taken the lease over, as this one did not renew it in time."""


class _State(NamedTuple):
    tick: int
    epoch: int
    owner: str
    released: bool
    age_s: float
    now: int


class Lease:
    """`async with Lease(clickhouse) as lease`: waits until it is held, renews it, and releases it in the end."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        table: str = "hitline_control.rollup_lease",
        statements: str = "hitline_control.rollup_changes",
    ) -> None:
        """`table`: where it is kept; `statements`: a text that all inserts of a holder contain, and no others."""
        self._clickhouse = clickhouse
        self._table = table
        self._statements = statements
        self._owner = f"{_host()}:{os.getpid()}:{_started(os.getpid())}:{id(self):x}"
        self._epoch = 0
        self._tick = 0
        self._number = 0
        self._renewed = 0.0
        self._lost = False
        self._swallowed = 0
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Take the lease, waiting while another process holds it."""
        seen: tuple[int, float] = (-1, 0.0)
        while True:
            state = await self._newest()
            if state.tick != seen[0]:
                seen = state.tick, time.monotonic()
            stale = state.age_s > LEASE_S or time.monotonic() - seen[1] > LEASE_S or _is_gone(state.owner)
            if (state.released or stale) and await self._take(state):
                break
            await asyncio.sleep(_POLL_S)
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it, unless it is lost or ClickHouse does not answer: then it ends by itself."""
        if self._renewing:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing
        if error is None:
            self._tick += 1
            await self._write(released=True)

    @property
    def held(self) -> tuple[str, dict[str, int]]:
        """A SQL condition that is true while this lease is held, and its parameters."""
        return HELD.format(table=self._table), {"epoch": self._epoch}

    def next_number(self) -> int:
        """Return a number for a run, larger than those of all runs before; raises `LeaseLost`."""
        self.check()
        self._number += 1
        return self._number

    def check(self) -> None:
        """Raise `LeaseLost` unless the lease is held for sure."""
        if self._lost or time.monotonic() - self._renewed > LEASE_S or self._number >= self._tick:
            raise LeaseLost("another process has taken this work over: run it again")

    async def _take(self, before: _State) -> bool:
        # A server that died may have noted a token and lost the row: that epoch can't be taken any more.
        self._epoch, self._number = before.epoch + 1 + self._swallowed, max(before.tick + 1, before.now)
        self._tick = self._number + _NUMBERS
        self._renewed = time.monotonic()
        await self._write(token=f"epoch {self._epoch}", newest=before.epoch)
        if not await self._is_held():
            self._swallowed += (await self._newest()).epoch == before.epoch
            return False
        while not before.released and await self._leftover():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        return True

    async def _leftover(self) -> bool:
        processes = everywhere(self._clickhouse.cluster, "system.processes")
        found = await self._clickhouse.query(_LEFTOVER.format(processes=processes), {"text": self._statements})
        return bool(found.result_rows)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            began = time.monotonic()
            self._tick += 1
            with suppress(
                Exception
            ):  # ClickHouse may be away: it is tried again, and `check` knows when it is too late
                await self._write()
                self._lost = not await self._is_held()
                self._renewed = began

    async def _is_held(self) -> bool:
        holder = await self._newest()
        return (holder.epoch, holder.owner) == (self._epoch, self._owner)

    async def _write(self, *, released: bool = False, token: str = "", newest: int | None = None) -> None:
        given = {
            "tick": self._tick,
            "epoch": self._epoch,
            "owner": self._owner,
            "released": released,
            "newest": self._epoch if newest is None else newest,
        }
        token = token or f"{self._owner} {self._tick}"
        statement = _INSERT.format(table=self._table)
        await self._clickhouse.command(statement, given, {"async_insert": 0, "insert_deduplication_token": token})

    async def _newest(self) -> _State:
        await self._clickhouse.catch_up(self._table)  # with what others wrote by other replicas
        rows = (await self._clickhouse.query(_NEWEST.format(table=self._table))).result_rows
        if rows:
            return _State(*rows[0])
        now = (await self._clickhouse.query("SELECT toUInt64(toUnixTimestamp64Micro(now64(6)))")).result_rows[0][0]
        return _State(0, 0, "", released=True, age_s=0.0, now=now)


def _host() -> str:
    return socket.gethostname()


def _started(pid: int) -> str:
    """Return when a process of this machine was started, in the kernel's ticks; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_gone(owner: str) -> bool:
    """Return whether the owner's process ran on this machine and has ended."""
    host, _, rest = owner.partition(":")
    pid, _, started = rest.partition(":")
    return host == _host() and pid.isdigit() and _started(int(pid)) != started.partition(":")[0]

"""Keeping the salts of derived sessions: made ahead of their day, fetched, and gone 48 hours after it.

All workers must use the same salt for a day, and ClickHouse has no unique constraint.  A day's salt is inserted under a
deduplication token of the day, so of several workers that make one, ClickHouse keeps one.  Should there be two all the
same (a server that was killed may note a token and lose its row), the oldest counts, and none does before it has been
there for a second.

In ClickHouse salts are sealed with the queue keys: who can read its disk can't search for the addresses behind the ids.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

from shared.backoff import Backoff
from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import explain, failure_of
from shared.metrics import PAUSED
from shared.seal import Opener, Sealer, Unopenable
from worker.lookups.salts import AHEAD, KEPT, Salts

log = logging.getLogger(__name__)

_POLL_S: Final = 60.0
_SOON_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 4.0
_SETTLED_US: Final = 1_000_000
#: How often a day's token may have been taken without a row to see, before another token is tried.
_SWALLOWED: Final = 20
#: Two clocks that differ by more delete nothing: of one that is wrong by days, no salt would be left.
MAX_DIFFERENCE_S: Final = 300.0
#: After this much more, a salt that ClickHouse should have dropped is dropped by the worker.
_GRACE_S: Final = 600.0

_EPOCH: Final = date(1970, 1, 1)
_DAY_S: Final = 86_400
_FETCH: Final = (
    "SELECT toUnixTimestamp64Micro(now64(6)),"
    " groupArray((toUInt32(day), salt, toUnixTimestamp64Micro(created_at))) FROM hitline_control.salts"
)


class StoredSalt(NamedTuple):
    """A row of `hitline_control.salts`: the day's number, the sealed salt in base64, microseconds since the epoch."""

    day: int
    sealed: str
    created_us: int

    @property
    def ends_s(self) -> int:
        """When it has to be gone, in seconds since the epoch."""
        return (self.day + 1 + KEPT) * _DAY_S


class SaltKeeper:
    """Fills `salts` from ClickHouse while `run` runs, from when one is asked for the first time."""

    def __init__(
        self,
        salts: Salts,
        clickhouse: ClickHouse,
        sealer: Sealer,
        opener: Opener,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._salts = salts
        self._clickhouse = clickhouse
        self._sealer = sealer
        self._opener = opener
        self._clock = clock
        self._asked = asyncio.Event()
        salts.on_missing = self._asked.set
        self._attempts = Counter[int]()
        self._problem = self._unopenable = ""
        #: ClickHouse's clock and this machine's when they were last compared, in seconds.
        self._compared = (0.0, 0.0)

    async def run(self) -> None:
        """Keep the salts until cancelled."""
        backoff = Backoff(_SOON_S, _LONGEST_PAUSE_S)
        await self._asked.wait()
        while True:
            self._asked.clear()
            fetched = await self._refresh()
            PAUSED.labels("salts").set(0 if self._salts.ready else 1)
            if fetched:
                backoff.reset()
                await self._wait(_POLL_S if self._salts.ready else _SOON_S)
            else:
                self._forget_overdue()
                await asyncio.sleep(backoff.next_s())

    async def _wait(self, seconds: float) -> None:
        """Wait so long, or until a salt is asked for that is missing; not shorter than `_SOON_S`."""
        await asyncio.sleep(_SOON_S)
        try:
            async with asyncio.timeout(seconds - _SOON_S):
                await self._asked.wait()
        except TimeoutError:
            return

    async def _refresh(self) -> bool:
        """Fetch, make what is missing, drop what is overdue; returns False if ClickHouse failed."""
        try:
            now_us, stored = await self._fetch()
            if await self._make_missing(now_us // 1_000_000 // _DAY_S, stored):
                now_us, stored = await self._fetch()
            self._take(now_us, stored)
            problem = await self._drop_overdue(now_us / 1e6, stored)
        except Exception as error:
            if failure_of(error) is None:
                raise
            self._report(
                f"{explain(error, self._clickhouse.address)}; pageviews of derived sessions wait for its salts"
            )
            return False
        self._report(self._unopenable or problem)
        return True

    async def _fetch(self) -> tuple[int, list[StoredSalt]]:
        now_us, rows = (await self._clickhouse.query(_FETCH)).result_rows[0]
        self._compared = now_us / 1e6, self._clock()
        return now_us, [StoredSalt(*row) for row in rows]

    async def _make_missing(self, today: int, stored: Sequence[StoredSalt]) -> bool:
        """Insert a salt for today and each day ahead that has none; days that are over never get one."""
        missing = set(range(today, today + AHEAD + 1)) - {salt.day for salt in stored}
        for day in sorted(missing):
            name = f"salt of {_date(day)}"
            sealed = b64encode(self._sealer.seal(secrets.token_bytes(32), _bound_to(day))).decode()
            again = self._attempts[day] // _SWALLOWED
            self._attempts[day] += 1
            await self._clickhouse.insert(
                "hitline_control.salts",
                ("day", "salt"),
                [[_date(day), sealed]],
                token=f"{name}, {again}" if again else name,
                column_type_names=("Date", "String"),
            )
        return bool(missing)

    def _take(self, now_us: int, stored: Sequence[StoredSalt]) -> None:
        """Put the salts in use that have settled and are not overdue, of two for a day the older."""
        found: dict[int, bytes] = {}
        self._unopenable = ""
        for salt in sorted(stored, key=lambda salt: (salt.created_us, salt.sealed)):
            if salt.created_us + _SETTLED_US > now_us or salt.ends_s * 1_000_000 <= now_us or salt.day in found:
                continue
            try:
                found[salt.day] = self._opener.open(b64decode(salt.sealed), _bound_to(salt.day))
            except (Unopenable, ValueError) as error:
                self._unopenable = f"salt of {_date(salt.day)}: {error}; pageviews of derived sessions wait for the key"
        self._salts.replace(found, now_us // 1_000_000 // _DAY_S)

    async def _drop_overdue(self, server_s: float, stored: Sequence[StoredSalt]) -> str:
        """Drop what ClickHouse's TTL should have dropped, if both clocks say so; returns why nothing was dropped."""
        own_s = self._clock()
        latest_s = max(server_s, own_s) - _GRACE_S
        overdue = sorted({salt.day for salt in stored if salt.ends_s <= latest_s})
        if overdue and abs(server_s - own_s) > MAX_DIFFERENCE_S:
            return (
                f"salts of {len(overdue)} days may be overdue, but ClickHouse's clock and this machine's differ by"
                f" {abs(server_s - own_s):.0f} s: set both right (NTP); this worker deletes nothing until then"
            )
        for day in overdue:
            await self._clickhouse.command(f"ALTER TABLE hitline_control.salts DROP PARTITION '{_date(day)}'")
            log.warning("the salt of %s was overdue and is deleted: does ClickHouse run its TTL merges?", _date(day))
        return ""

    def _forget_overdue(self) -> None:
        """While ClickHouse is away, forget what is overdue by its clock as far as it is known."""
        server_s, own_s = self._compared
        if server_s:
            self._salts.forget(int(server_s + self._clock() - own_s) // _DAY_S - KEPT)

    def _report(self, problem: str) -> None:
        """Log a problem unless it is the same as last time; "" is none."""
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            log.warning("%s", problem)
        else:
            log.info("salts of derived sessions: all right again")


def _date(day: int) -> date:
    return _EPOCH + timedelta(day)


def _bound_to(day: int) -> bytes:
    """Return what a sealed salt is bound to, so that it opens for its day only."""
    return b"hitline salt of day %d" % day

"""The clock of this machine beside ClickHouse's and the broker's: nothing is discarded by one clock alone.

The others' are estimated from their last answer and the time since, by a monotonic clock, so that a step of this
machine's clock does not move them.  RabbitMQ tells its clock only through its management API (`broker_watch.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from shared import metrics
from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import failure_of

#: Clocks that differ by less agree; more is logged, and decided by the more careful one.
MAX_DIFFERENCE_S: Final = 300.0
_LOOK_S: Final = 60.0
_SOON_S: Final = 5.0
#: A gateway's clock counts as right once no message was of the future for so long.
_QUIET_S: Final = 300.0
_OF: Final = {"clickhouse": "ClickHouse's", "broker": "the broker's", "gateway": "a gateway's"}
_NOW: Final = "SELECT toUnixTimestamp64Milli(now64(3))"

log = logging.getLogger(__name__)


class Clocks:
    """Milliseconds since the epoch by all clocks that are known; this machine's own always is.

    `consequence`: what this process does while they differ, for the log.
    """

    def __init__(
        self,
        consequence: str = "",
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consequence = consequence
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        #: By name: the other clock's time less the monotonic one's.
        self._others: dict[str, float] = {}
        self._differing: set[str] = set()
        self._gateway_ahead_at = 0.0
        #: By how much this machine's clock was behind the one furthest ahead when that was last asked.
        self.behind_ms = 0

    def saw(self, name: str, seconds: float) -> None:
        """Note what another clock (`clickhouse`, `broker`) said just now, in seconds since the epoch."""
        self._others[name] = seconds - self._monotonic()
        self.behind_ms = max(0, self.latest_ms() - int(self._wall_clock() * 1000))
        self._report(name, self._wall_clock() - seconds)

    def received(self, ahead_s: float) -> None:
        """Note how far ahead of all clocks a gateway's was in a message; one of many gateways may be wrong."""
        if ahead_s > MAX_DIFFERENCE_S:
            self._gateway_ahead_at = self._monotonic()
        elif not self._gateway_ahead_at or self._monotonic() - self._gateway_ahead_at < _QUIET_S:
            return
        else:
            self._gateway_ahead_at = 0.0
        self._report("gateway", -max(0.0, ahead_s))

    def _report(self, name: str, ahead_s: float) -> None:
        """Measure, and log once, by how much this machine's clock is ahead of another."""
        metrics.CLOCK_AHEAD.labels(name).set(round(ahead_s, 3))
        differs = abs(ahead_s) > MAX_DIFFERENCE_S
        if differs and name not in self._differing:
            side = "ahead of" if ahead_s > 0 else "behind"
            log.error(
                "this machine's clock is %.0f s %s %s: set all clocks right (NTP)%s",
                abs(ahead_s), side, _OF[name], f"; until then {self._consequence}" if self._consequence else "",
            )  # fmt: skip
        elif not differs and name in self._differing:
            log.info("this machine's clock and %s agree again", _OF[name])
        (self._differing.add if differs else self._differing.discard)(name)

    def earliest_ms(self) -> int:
        """Return the time by the clock that is furthest behind."""
        return int(min(self._all()) * 1000)

    def latest_ms(self) -> int:
        """Return the time by the clock that is furthest ahead."""
        return int(max(self._all()) * 1000)

    def _all(self) -> list[float]:
        now = self._monotonic()
        return [self._wall_clock(), *(offset + now for offset in self._others.values())]

    async def run(self, clickhouse: ClickHouse) -> None:
        """Ask ClickHouse for its time once a minute, until cancelled."""
        while True:
            answered = await self.look(clickhouse)
            await asyncio.sleep(_LOOK_S if answered else _SOON_S)

    async def look(self, clickhouse: ClickHouse) -> bool:
        """Ask ClickHouse for its time; returns False if it does not answer."""
        try:
            milliseconds = (await clickhouse.query(_NOW)).result_rows[0][0]
        except Exception as error:
            if failure_of(error) is None:
                raise
            return False
        self.saw("clickhouse", milliseconds / 1000)
        return True

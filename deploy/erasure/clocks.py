"""Nothing is erased by one clock alone: what a wrong one erases is gone for good.

Three are compared: ClickHouse's, this process's, and the gateways', which is in the newest pageviews (`received_at`).
RabbitMQ has none that a client could read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from deploy.erasure.request import NotErased
from shared.clickhouse import ClickHouse

#: What the clocks may differ by.
MAX_DIFFERENCE_S: Final = 300.0
#: Without a pageview for this long, nothing speaks against all clocks of one machine being ahead together.
MAX_SILENCE_S: Final = 2 * 86_400.0

#: The newest pageview; `stored_at` has an index.
_NEWEST: Final = (
    "SELECT count(), toUnixTimestamp64Milli(max(received_at)) FROM hitline.pageviews_raw"
    " WHERE stored_at >= now64(3) - toIntervalSecond({seconds:UInt32})"
)
_ANY: Final = "SELECT count() FROM (SELECT 1 FROM hitline.pageviews_raw LIMIT 1)"


class ClocksDifferError(NotErased):
    """The clocks differ too much to erase by any of them; the text says what to do."""


async def check_clocks(clickhouse: ClickHouse, clock: Callable[[], float] = time.time, *, idle: bool = False) -> None:
    """Raise `ClocksDifferError` unless ClickHouse's clock agrees with `clock` (seconds since the epoch) and the data.

    `idle`: someone has said that no pageviews arrive, and that the clocks are right.
    """
    before_s = clock()
    found = await clickhouse.query("SELECT toUnixTimestamp64Milli(now64(3))")
    server_s = found.result_rows[0][0] / 1000
    difference_s = max(before_s - server_s, server_s - clock(), 0.0)
    if difference_s > MAX_DIFFERENCE_S:
        raise ClocksDifferError(
            f"nothing was erased: ClickHouse's clock and this machine's differ by {difference_s:.0f} s; set both right"
            " (NTP), and run it again"
        )
    received_s = await _newest_s(clickhouse)
    if received_s is None or server_s - received_s > MAX_SILENCE_S:
        await _check_silence(clickhouse, idle=idle)
    elif received_s - server_s > MAX_DIFFERENCE_S:
        raise ClocksDifferError(
            "nothing was erased: the newest pageviews were received in the future, by the clock of a gateway; set the"
            " clocks of gateways, ClickHouse and this machine right (NTP), and run it again"
        )


async def _newest_s(clickhouse: ClickHouse) -> float | None:
    """Return when a gateway received the newest of the pageviews that were stored lately; None if there are none."""
    for seconds in (600, MAX_SILENCE_S):  # most often it is enough to look at ten minutes
        number, received_ms = (await clickhouse.query(_NEWEST, {"seconds": int(seconds)})).result_rows[0]
        if number:
            return float(received_ms) / 1000
    return None


async def _check_silence(clickhouse: ClickHouse, *, idle: bool) -> None:
    if not idle and (await clickhouse.query(_ANY)).result_rows[0][0]:
        raise ClocksDifferError(
            f"nothing was erased: no pageview of the last {MAX_SILENCE_S / 3600:.0f} hours is stored. Either none"
            " arrived, or the clocks of ClickHouse and this machine are ahead; if they are right, run"
            " `hitline retain --idle`"
        )

"""What broker and ClickHouse say: messages that wait, what was stored in the last minutes, how new the newest is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deploy.queue.connection import BrokerError
from deploy.queue.depths import depths
from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import failure_of
from shared.queue import DEAD_QUEUE, QUEUE

#: What clients had stored is averaged over the last minutes.
MINUTES: Final = 5
#: `stored_at` has an index, so that these read what is new and nothing else.
_FRESHNESS: Final = (
    "SELECT count(), dateDiff('millisecond', max(stored_at), now64(3)) / 1000,"
    " quantile(0.99)(dateDiff('millisecond', received_at, stored_at)) / 1000"
    " FROM hitline.pageviews_raw WHERE stored_at >= now() - 60"
)
_BY_CLIENT: Final = """
    SELECT names.name, busy.stored
    FROM (
        SELECT client_id, count() AS stored FROM hitline.pageviews_raw
        WHERE stored_at >= now() - 60 * {minutes:UInt8} GROUP BY client_id ORDER BY stored DESC LIMIT 20
    ) AS busy
    LEFT JOIN (
        SELECT client_id, argMax(name, version) AS name FROM hitline_control.clients GROUP BY client_id
    ) AS names ON names.client_id = busy.client_id
    ORDER BY busy.stored DESC
"""


@dataclass(frozen=True)
class Stores:
    """Broker and ClickHouse at one moment; None: it does not say."""

    waiting: int | None = None
    dead: int | None = None
    #: Stored within the last minute.
    stored: int | None = None
    #: Seconds since the newest pageview was stored, and from accepted to stored for 99 of 100 of the last minute.
    newest_s: float | None = None
    behind_s: float | None = None
    #: Name, and pageviews that were stored, a minute.
    clients: tuple[tuple[str, float], ...] = ()
    #: What does not answer.
    problems: tuple[str, ...] = ()


async def look(amqp_url: Sequence[str], clickhouse: ClickHouse, *, clients: bool) -> Stores:
    """Ask both; raises nothing that has to do with them."""
    problems = []
    waiting = dead = None
    try:
        found = await depths(amqp_url)
        waiting, dead = found[QUEUE], found[DEAD_QUEUE]
    except Exception as error:  # noqa: BLE001 - shown in place of the numbers
        problems.append(str(error) if isinstance(error, BrokerError) else f"broker: {type(error).__name__}")
    try:
        stored, newest_s, behind_s = (await clickhouse.query(_FRESHNESS)).result_rows[0]
        rows = (await clickhouse.query(_BY_CLIENT, {"minutes": MINUTES})).result_rows if clients else []
    except Exception as error:
        if failure_of(error) is None:
            raise
        problems.append("ClickHouse does not answer or refuses: see `hitline doctor`")
        return Stores(waiting, dead, problems=tuple(problems))
    busy = tuple((name or "unknown", count / MINUTES) for name, count in rows)
    newest, behind = (float(newest_s), float(behind_s)) if stored else (None, None)
    return Stores(waiting, dead, stored, newest, behind, busy, tuple(problems))

"""What operators allow beyond the limit of dead letters: `hitline dead allow`, read by workers that are paused."""

from __future__ import annotations

import logging
import uuid
from typing import Final, NamedTuple

from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import failure_of

log = logging.getLogger(__name__)

#: By the server's clock alone.
_VALID: Final = """
SELECT allowance_id, pageviews, created_by, toFloat64(expires_at) - toFloat64(now64(6))
FROM hitline_control.dead_letter_allowances WHERE expires_at > now64(6)
"""


class Allowance(NamedTuple):
    """How many pageviews more may be dead-lettered by this worker, or for how long any number may."""

    pageviews: int
    all_for_s: float


NONE: Final = Allowance(0, 0.0)


class Allowances:
    """Reads allowances; each counts once for this process."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._taken: set[uuid.UUID] = set()
        self._failed = False

    async def take(self) -> Allowance:
        """Return what has been allowed since the last time; nothing while ClickHouse can't be asked."""
        try:
            result = await self._clickhouse.query(_VALID)
        except Exception as error:
            if failure_of(error) is None:
                raise
            if not self._failed:
                log.warning("can't read what `hitline dead allow` allows: %s", type(error).__name__)
            self._failed = True
            return NONE
        self._failed = False
        taken = NONE
        for allowance_id, pageviews, created_by, seconds in result.result_rows:
            if allowance_id in self._taken:
                continue
            self._taken.add(allowance_id)
            log.warning("%s allows %s more dead letters", created_by, pageviews or "any number of")
            if pageviews:
                taken = taken._replace(pageviews=taken.pageviews + pageviews)
            else:
                taken = taken._replace(all_for_s=max(taken.all_for_s, seconds))
        return taken

"""Pageviews older than their site keeps are not stored: a replayed history must not outlive its retention.

What is dropped is gone for good, so no single clock decides: it has to be too old by this machine's, by each other that
is known, and by the gateway's when the pageview was received.  What only some of them call too old (a clock is wrong,
or the message waited for that long) is stored, and the daily retention erases it, which compares clocks as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shared.outcomes import Outcome
from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.drop import Drop

_DAY_MS: Final = 86_400_000


def drop_too_old(retention_days: int, now_ms: Callable[[], int], pageview: QueuedPageview, site: Site) -> Drop | None:
    """Drop what is more than the site's retention, else the instance's `retention_days`, before now; 0 keeps all.

    `now_ms` gives the time by the clock that is furthest behind.
    """
    days = site.retention_days or retention_days
    if days <= 0 or pageview.timestamp_ms >= min(now_ms(), pageview.received_ms) - days * _DAY_MS:
        return None
    whose = f"of {site.name}" if site.retention_days else "of this instance"
    return Drop(Outcome.TOO_OLD, site.site_id, f"retention of {days} days {whose}")

"""Pageviews older than their site keeps are not stored: a replayed history must not outlive its retention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shared.outcomes import Outcome
from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.drop import Drop

_DAY_MS: Final = 86_400_000


def drop_too_old(retention_days: int, now_ms: Callable[[], int], pageview: QueuedPageview, site: Site) -> Drop | None:
    """Drop what is more than the site's retention, else the instance's `retention_days`, before now; 0 keeps all."""
    days = site.retention_days or retention_days
    if days <= 0 or pageview.timestamp_ms >= now_ms() - days * _DAY_MS:
        return None
    whose = f"of {site.name}" if site.retention_days else "of this instance"
    return Drop(Outcome.TOO_OLD, site.site_id, f"retention of {days} days {whose}")

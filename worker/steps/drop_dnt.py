"""Visitors who asked not to be tracked are not."""

from __future__ import annotations

from shared.outcomes import Outcome
from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.drop import Drop


def drop_dnt(pageview: QueuedPageview, site: Site) -> Drop | None:
    """Drop a pageview whose `dnt` is true."""
    return Drop(Outcome.DNT, site.site_id, "the visitor asked not to be tracked") if pageview.dnt else None

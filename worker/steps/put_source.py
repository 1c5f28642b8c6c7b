"""Which source and channel brought a visitor, by the rules in docs/enrichment.md."""

from __future__ import annotations

from typing import Final

from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.lookups.own_hosts import OwnHosts
from worker.lookups.sources import DIRECT, Source, Sources
from worker.steps.put_page import Page
from worker.steps.put_referrer import Referrer

_DIRECT: Final = Source("", DIRECT)


def put_source(
    sources: Sources, own: OwnHosts, pageview: QueuedPageview, site: Site, referrer: Referrer, page: Page
) -> Source:
    """Return where the pageview comes from; a link within the site is a direct visit, as without a referrer."""
    host = referrer.referrer_host
    campaign = page.has_campaign or page.click_id
    if not host and not campaign:
        return _DIRECT
    if host and (host == pageview.hostname or own.has(host, site)):
        if not campaign:
            return _DIRECT
        host = ""
    if not campaign:
        return sources.of_referrer(host)
    return sources.find(host, page.utm_source, page.utm_medium, page.has_campaign, page.click_id)

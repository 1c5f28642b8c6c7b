"""Which source and channel brought a visitor, by the rules in docs/enrichment.md."""

from __future__ import annotations

from typing import Final

from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.lookups.registry import Registry
from worker.lookups.sources import DIRECT, Source, Sources
from worker.steps.put_page import Page
from worker.steps.put_referrer import Referrer

_DIRECT: Final = Source("", DIRECT)
_REMEMBERED: Final = 16_384


class OwnHosts:
    """Whether hosts are a site's own; remembered as long as the registry has no other state of the site."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._answers: dict[tuple[bytes, str], tuple[Site, bool]] = {}

    def has(self, host: str, site: Site) -> bool:
        """Tell whether `host` is one of the site's hostnames or below one; `*.domain` counts as `domain` here."""
        key = (site.site_id, host)
        answer = self._answers.get(key)
        if answer is None or answer[0] is not site:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            answer = self._answers[key] = (site, self._registry.lists(site, host))
        return answer[1]


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
    return sources.find(host, page.utm_source, page.utm_medium, page.has_campaign, page.click_id)

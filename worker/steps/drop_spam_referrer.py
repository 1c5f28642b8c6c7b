"""Referrer spam: fake visits whose referrer is meant to show up in reports, by lists in Matomo's format."""

from __future__ import annotations

from shared.outcomes import Outcome
from shared.registry import Site
from worker.drop import Drop
from worker.lookups.registry import Registry
from worker.lookups.spam import Spam
from worker.steps.put_referrer import Referrer


def drop_spam_referrer(spam: Spam, registry: Registry, referrer: Referrer, site: Site) -> Drop | None:
    """Drop a pageview whose referrer's host, or a parent of it, is listed - unless the host is the site's own."""
    host = referrer.referrer_host
    if not host:
        return None
    rule = spam.find_host(host)
    if rule is None or registry.lists(site, host):
        return None
    return Drop(Outcome.SPAM_REFERRER, site.site_id, rule)

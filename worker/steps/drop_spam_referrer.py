"""Referrer spam: fake visits whose referrer is meant to show up in reports, by lists in Matomo's format."""

from __future__ import annotations

from shared.hostnames import parents
from shared.outcomes import Outcome
from shared.registry import Site
from worker.drop import Drop
from worker.lookups.spam import Spam
from worker.steps.put_referrer import Referrer


def drop_spam_referrer(spam: Spam, referrer: Referrer, site: Site) -> Drop | None:
    """Drop a pageview whose referrer's host, or a parent of it, is listed - unless the host is the site's own."""
    host = referrer.referrer_host
    if not host:
        return None
    rule = spam.find_host(host)
    if rule is None or _is_own(host, site):
        return None
    return Drop(Outcome.SPAM_REFERRER, site.site_id, rule)


def _is_own(host: str, site: Site) -> bool:
    """Tell whether `host` is one of the site's hostnames or below one; `*.domain` counts as `domain` here."""
    own = {hostname.removeprefix("*.") for hostname in site.hostnames}
    return not own.isdisjoint((host, *parents(host)))

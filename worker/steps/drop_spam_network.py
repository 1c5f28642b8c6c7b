"""Traffic from networks that are run by spammers, by lists in Spamhaus DROP format."""

from __future__ import annotations

from shared.outcomes import Outcome
from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.drop import Drop
from worker.lookups.spam import Spam


def drop_spam_network(spam: Spam, pageview: QueuedPageview, site: Site) -> Drop | None:
    """Drop a pageview whose visitor is in a listed network."""
    rule = spam.find_network(pageview.visitor_ip)
    return Drop(Outcome.SPAM_NETWORK, site.site_id, rule) if rule else None

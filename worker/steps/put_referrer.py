"""Where a visitor came from.

A pageview is a self-referral when its `referrer_host` equals its `hostname`: both have the same normal form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.lengths import CACHED_LENGTH, REFERRER, cut_encoded
from worker.lookups.own_hosts import OwnHosts
from worker.lookups.query_rules import rules_of
from worker.lookups.referrers import host_of


class Referrer(NamedTuple):
    """The referrer as sent, trimmed, and the normalised hostname in it (empty where there is none)."""

    referrer: str
    referrer_host: str


NO_REFERRER: Final = Referrer("", "")


def put_referrer(own: OwnHosts, pageview: QueuedPageview, site: Site) -> Referrer:
    """Return the pageview's referrer; what the site does not store of its queries, it does not store here either."""
    text = pageview.referrer
    if not text:
        return NO_REFERRER
    found = _cached(text) if len(text) <= CACHED_LENGTH else parse_referrer(text)
    if (site.query_keep or site.query_drop) and "?" in text:
        return _by_rules(found, own, pageview, site)
    return found


def _by_rules(found: Referrer, own: OwnHosts, pageview: QueuedPageview, site: Site) -> Referrer:
    host = found.referrer_host
    rules = rules_of(site.query_keep, site.query_drop)
    if rules is None or not (host == pageview.hostname or own.has(host, site)):
        return found
    page, _, query = found.referrer.partition("?")
    query = rules.stored(query.partition("#")[0])
    return found._replace(referrer=f"{page}?{query}" if query else page)


def parse_referrer(text: str) -> Referrer:
    """Find the host, in all that is sent; see `worker.lookups.referrers`."""
    text = text.strip()
    return Referrer(cut_encoded(text, REFERRER, "referrer"), host_of(text))


_cached = lru_cache(maxsize=16_384)(parse_referrer)

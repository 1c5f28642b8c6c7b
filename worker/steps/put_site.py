"""Which site a pageview belongs to; the worker's word is final, the gateway's answer may be seconds older."""

from __future__ import annotations

from typing import Final

from shared.outcomes import Outcome
from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.drop import Drop
from worker.lookups.registry import Registry

#: RFC 1035 section 2.3.4; longer text is not a hostname, and looking up its parents would take long.
_LONGEST_HOSTNAME: Final = 253


def put_site(registry: Registry, pageview: QueuedPageview) -> Site | Drop:
    """Return the site of the pageview's hostname, or a drop when no site claims it (any more)."""
    hostname = pageview.hostname
    if len(hostname) > _LONGEST_HOSTNAME:
        return Drop(Outcome.UNKNOWN_SITE, None, "the hostname is longer than any")
    site = registry.find_site(hostname)
    if site is None:
        return Drop(Outcome.UNKNOWN_SITE, None, f"no site lists the hostname {hostname}")
    return site

"""Whether an API client may post a pageview: its hostname must belong to a site on which the client may manage data."""

from __future__ import annotations

from gateway.replies import Reason, Rejected
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Replica


def authorize(hostname: str, client: Client, registry: Replica) -> None:
    """Raise `Rejected` (404) for a hostname of no site, (403) for one on whose site `client` may not manage data.

    The worker resolves the site again and its word is final; whether the client may is decided here, once.
    """
    site = registry.find_site(hostname)
    if site is None:
        raise Rejected(Reason.UNKNOWN_SITE)
    if not client.may(MANAGE_DATA, site):
        raise Rejected(Reason.FORBIDDEN)

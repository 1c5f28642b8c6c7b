"""Whether an API client may post a pageview: the hostname must belong to a site that the client may manage data of."""

from __future__ import annotations

from gateway.replies import Reason, Rejected
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Replica


def authorize(hostname: str, client: Client, registry: Replica) -> None:
    """Raise `Rejected`: 404 when no site has the hostname, 403 when `client` may not manage data of its site.

    A client without any grant gets 404 in both cases.  The worker resolves the site again, and its result counts; the
    permission is checked here only.
    """
    site = registry.find_site(hostname)
    if site is None:
        raise Rejected(Reason.UNKNOWN_SITE)
    if not registry.may(client, MANAGE_DATA, site):
        # A client without any grant must not learn from 403 and 404 which hostnames exist.
        raise Rejected(Reason.FORBIDDEN if registry.has_grants(client) else Reason.UNKNOWN_SITE)

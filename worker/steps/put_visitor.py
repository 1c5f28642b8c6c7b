"""Whose pageview it is, on sites that derive the sessions of pageviews that come without."""

from __future__ import annotations

from typing import Final, NamedTuple

from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.lengths import USER_AGENT
from worker.lookups.salts import DAY_MS, Salts, visitor_id


class Visitor(NamedTuple):
    """The visitor's id of that day, 0 where the pageview has a session of its own."""

    visitor_id: int


NO_VISITOR: Final = Visitor(0)


def put_visitor(salts: Salts, pageview: QueuedPageview, site: Site) -> Visitor:
    """Return the visitor of a pageview without a session, if its site derives sessions and its day has a salt.

    The day is that of `timestamp`, so that it is the same whenever the pageview arrives.  Raises `SaltNotReady`.
    """
    if pageview.has_session or not site.derived_sessions:
        return NO_VISITOR
    salt = salts.of(pageview.timestamp_ms // DAY_MS)
    if salt is None:
        return NO_VISITOR
    user_agent = pageview.user_agent[:USER_AGENT]
    return Visitor(int.from_bytes(visitor_id(salt, site.site_id, pageview.visitor_ip, user_agent)))

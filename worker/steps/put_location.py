"""Where a visitor is, and in whose network."""

from __future__ import annotations

from shared.pageview import QueuedPageview
from worker.lookups.geo import Geo
from worker.lookups.geo_records import Location


def put_location(geo: Geo, pageview: QueuedPageview) -> Location:
    """Return what the databases in use say of the visitor's address; the address goes no further than this."""
    return geo.find(pageview.visitor_ip)

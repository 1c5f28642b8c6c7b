"""Pageviews that an operator or a site's owner does not want: by network, country, user agent or path."""

from __future__ import annotations

from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.drop import Drop
from worker.lengths import read_agent
from worker.lookups.exclusions import Exclusions
from worker.lookups.geo_records import Location
from worker.lookups.rule_sets import Subject
from worker.steps.put_page import Page


def drop_excluded(
    exclusions: Exclusions, pageview: QueuedPageview, site: Site, location: Location, page: Page
) -> Drop | None:
    """Drop what a rule of the instance, or of the site, excludes."""
    if exclusions.none_for(site):
        return None
    user_agent = read_agent(pageview.user_agent)
    subject = Subject(pageview.visitor_ip, location.country, user_agent, page.rule_path)
    verdict = exclusions.find(site, subject)
    return Drop(verdict.reason, site.site_id, verdict.rule) if verdict else None

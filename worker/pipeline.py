"""The steps of a pageview through a worker: from the queue to a row, or to the reason why it is dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.drop import Drop
from worker.lookups.agents import Agent
from worker.lookups.geo_records import Location
from worker.lookups.lookups import Lookups
from worker.lookups.own_hosts import OwnHosts
from worker.lookups.sources import Source
from worker.row import Row, make_row
from worker.steps.drop_dnt import drop_dnt
from worker.steps.drop_excluded import drop_excluded
from worker.steps.drop_spam_network import drop_spam_network
from worker.steps.drop_spam_referrer import drop_spam_referrer
from worker.steps.drop_too_old import drop_too_old
from worker.steps.put_agent import put_agent
from worker.steps.put_language import put_language
from worker.steps.put_location import put_location
from worker.steps.put_page import Page, put_page
from worker.steps.put_referrer import Referrer, put_referrer
from worker.steps.put_site import put_site
from worker.steps.put_source import put_source
from worker.steps.put_visitor import Visitor, put_visitor

__all__ = ["Drop", "Row", "Steps", "build_steps", "process", "traced"]


class Steps(NamedTuple):
    """The steps, each bound to what it looks up, in the order in which `process` takes them."""

    put_site: Callable[[QueuedPageview], Site | Drop]
    drop_too_old: Callable[[QueuedPageview, Site], Drop | None]
    drop_dnt: Callable[[QueuedPageview, Site], Drop | None]
    put_location: Callable[[QueuedPageview], Location]
    put_page: Callable[[QueuedPageview, Site], Page]
    drop_excluded: Callable[[QueuedPageview, Site, Location, Page], Drop | None]
    drop_spam_network: Callable[[QueuedPageview, Site], Drop | None]
    put_referrer: Callable[[QueuedPageview, Site], Referrer]
    drop_spam_referrer: Callable[[Referrer, Site], Drop | None]
    put_source: Callable[[QueuedPageview, Site, Referrer, Page], Source]
    put_agent: Callable[[QueuedPageview], Agent]
    put_language: Callable[[QueuedPageview], str]
    put_visitor: Callable[[QueuedPageview, Site], Visitor]


def process(pageview: QueuedPageview, steps: Steps) -> Row | Drop:
    """Return the pageview's row, or why it is dropped; raises nothing for what `shared.pageview.parse` returns.

    But for `SaltNotReady`, after which it can be called again.
    """
    site = steps.put_site(pageview)
    if isinstance(site, Drop):
        return site
    # Before anything is derived from the visitor's address.
    if drop := steps.drop_too_old(pageview, site) or steps.drop_dnt(pageview, site):
        return drop
    location = steps.put_location(pageview)  # exclusions need the country
    page = steps.put_page(pageview, site)  # and the path
    if drop := steps.drop_excluded(pageview, site, location, page):
        return drop
    if drop := steps.drop_spam_network(pageview, site):
        return drop
    referrer = steps.put_referrer(pageview, site)  # its host may be a spammer's
    if drop := steps.drop_spam_referrer(referrer, site):
        return drop
    source = steps.put_source(pageview, site, referrer, page)
    agent = steps.put_agent(pageview)  # slowest on a cache miss, so it runs after every drop
    language = steps.put_language(pageview)
    visitor = steps.put_visitor(pageview, site)  # of stored pageviews only
    return make_row(pageview, site, location, agent, referrer, source, page, language, visitor)


def build_steps(lookups: Lookups, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> Steps:
    """Bind the steps to what they look up; `now_ms` is the clock for retention (`drop_too_old`)."""
    own = OwnHosts(lookups.registry)
    return Steps(
        put_site=partial(put_site, lookups.registry),
        drop_too_old=partial(drop_too_old, lookups.retention_days, now_ms),
        drop_dnt=drop_dnt,
        put_location=partial(put_location, lookups.geo),
        put_page=put_page,
        drop_excluded=partial(drop_excluded, lookups.exclusions),
        drop_spam_network=partial(drop_spam_network, lookups.spam),
        put_referrer=partial(put_referrer, own),
        drop_spam_referrer=partial(drop_spam_referrer, lookups.spam, lookups.registry),
        put_source=partial(put_source, lookups.sources, own),
        put_agent=partial(put_agent, lookups.agents),
        put_language=put_language,
        put_visitor=partial(put_visitor, lookups.salts),
    )


def traced(steps: Steps, on_step: Callable[[str, Any], None]) -> Steps:
    """Return the same steps, each of which reports its name and result to `on_step`, as `hitline explain` needs."""

    def trace(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def traced_step(*arguments: Any) -> Any:
            result = step(*arguments)
            on_step(name, result)
            return result

        return traced_step

    return Steps(*(trace(name, step) for name, step in steps._asdict().items()))

from __future__ import annotations

import pytest

from shared.outcomes import Outcome
from tests.worker.factories import OTHER_SITE, SITE, FakeRegistry, pageview
from worker.lookups.exclusions import Exclusions
from worker.lookups.geo_records import NOWHERE
from worker.steps.drop_excluded import drop_excluded
from worker.steps.put_page import put_page


def drop(registry, site=SITE, country="", **fields):
    given = pageview(**fields)
    return drop_excluded(Exclusions(registry), given, site, NOWHERE._replace(country=country), put_page(given, SITE))


@pytest.mark.parametrize(
    ("kind", "value", "reason", "fields"),
    [
        ("cidr", "203.0.113.0/24", Outcome.EXCLUDED_CIDR, {"visitor_ip": "203.0.113.9"}),
        ("cidr", "203.0.113.0/24", Outcome.EXCLUDED_CIDR, {"visitor_ip": "::ffff:203.0.113.9"}),
        ("country", "DE", Outcome.EXCLUDED_COUNTRY, {"country": "DE"}),
        ("user_agent", "headless", Outcome.EXCLUDED_USER_AGENT, {"user_agent": "HeadlessChrome"}),
        ("path", "/admin", Outcome.EXCLUDED_PATH, {"url": "https://example.com/x/%2E./admin/?a=1#b"}),
    ],
)
def test_drops_what_a_rule_covers_and_names_it(kind, value, reason, fields):
    registry = FakeRegistry()
    assert drop(registry, **fields) is None
    registry.exclude(kind, value, SITE)
    assert drop(registry, **fields) == (reason, SITE.site_id, f"{kind} {value} of example.com")
    assert drop(registry) is None
    assert drop(registry, site=OTHER_SITE, **fields) is None


def test_looks_at_no_more_of_a_user_agent_than_is_kept():
    registry = FakeRegistry()
    registry.exclude("user_agent", "needle")
    assert drop(registry, user_agent="x" * 2_000 + "needle") is None


def test_looks_at_fewer_characters_of_a_user_agent_that_is_not_ascii():
    registry = FakeRegistry()
    registry.exclude("user_agent", "needle")
    assert drop(registry, user_agent="中" * 254 + "needle") is not None
    assert drop(registry, user_agent="中" * 256 + "needle") is None


def test_a_rule_holds_for_the_beginning_of_a_path_that_is_cut():
    registry = FakeRegistry()
    registry.exclude("path", "/admin")
    assert drop(registry, url=f"https://example.com/admin/{'a/' * 9_000}") is not None
    assert drop(registry, url=f"https://example.com/{'a/' * 9_000}") is None

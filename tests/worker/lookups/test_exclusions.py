from __future__ import annotations

import pytest

from shared.outcomes import Outcome
from tests.worker.factories import OTHER_SITE, SITE, FakeRegistry
from worker.lookups.exclusions import Exclusions
from worker.lookups.rule_sets import Subject

SUBJECT = Subject("203.0.113.7", "DE", "Mozilla/5.0 HeadlessChrome/1", "/admin/users")


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("cidr", "203.0.113.0/24", Outcome.EXCLUDED_CIDR),
        ("cidr", "203.0.113.7/32", Outcome.EXCLUDED_CIDR),
        ("cidr", "0.0.0.0/0", Outcome.EXCLUDED_CIDR),
        ("cidr", "198.51.100.0/24", None),
        ("country", "DE", Outcome.EXCLUDED_COUNTRY),
        ("country", "FR", None),
        ("user_agent", "headlesschrome", Outcome.EXCLUDED_USER_AGENT),
        ("user_agent", "HEADLESS", Outcome.EXCLUDED_USER_AGENT),
        ("user_agent", "googlebot", None),
        ("path", "/admin", Outcome.EXCLUDED_PATH),
        ("path", "/adm", None),
    ],
)
@pytest.mark.parametrize("site", [None, SITE])
def test_rules_of_the_instance_and_of_a_site(kind, value, reason, site):
    registry = FakeRegistry()
    exclusions = Exclusions(registry)
    assert exclusions.none_for(SITE)
    registry.exclude(kind, value, site)
    exclusions.refresh()
    for _ in range(2):  # the second time out of a cache
        verdict = exclusions.find(SITE, SUBJECT)
        assert (verdict.reason if verdict else None) == reason
    if verdict:
        assert verdict.rule.endswith("of example.com" if site else "of this instance")
        assert SUBJECT.address not in verdict.rule or value.endswith("/32")
    if site:
        assert exclusions.none_for(OTHER_SITE)
        assert exclusions.find(OTHER_SITE, SUBJECT) is None


def test_names_the_narrowest_network_and_its_owner():
    registry = FakeRegistry()
    for rule in ("203.0.0.0/16", "203.0.113.0/24"):
        registry.exclude("cidr", rule, SITE)
    assert Exclusions(registry).find(SITE, SUBJECT).rule == "cidr 203.0.113.0/24 of example.com"


def test_an_unknown_country_is_excluded_by_no_rule():
    registry = FakeRegistry()
    registry.exclude("country", "DE")
    assert Exclusions(registry).find(SITE, SUBJECT._replace(country="")) is None


def test_follows_the_registry_and_reports_rules_that_can_not_be():
    registry = FakeRegistry()
    exclusions = Exclusions(registry)
    registry.exclude("country", "DE")
    registry.exclude("cidr", "nonsense")
    registry.exclude("colour", "red", SITE)
    assert exclusions.find(SITE, SUBJECT) is None
    exclusions.refresh()
    assert exclusions.find(SITE, SUBJECT).reason == Outcome.EXCLUDED_COUNTRY
    assert "is ignored" in exclusions.problems["exclusions"]
    registry.rules.clear()
    registry.generation += 1
    exclusions.refresh()
    assert exclusions.none_for(SITE)
    assert exclusions.problems == {}

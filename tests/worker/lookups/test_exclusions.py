from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.outcomes import Outcome
from shared.registry import Exclusion, Replica
from shared.registry.records import Change
from tests.worker.factories import OTHER_SITE, SITE, FakeRegistry
from worker.lookups import exclusions as module
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


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    made = Replica(tmp_path, "test")
    put(made, Change(SITE, 1), Change(OTHER_SITE, 1))
    yield made
    made.close()


def put(replica: Replica, *changes: Change) -> None:
    _, touched = replica.apply(changes)
    replica.refreshed(touched)


def rule(number: int, kind: str, value: str, owner: bytes | None = None) -> Exclusion:
    return Exclusion(number.to_bytes(16, "big"), kind, value, owner)


def test_sites_with_the_same_rules_share_a_set(replica: Replica):
    put(replica, *(Change(rule(n, "path", "/admin", site.site_id), 1) for n, site in enumerate((SITE, OTHER_SITE))))
    exclusions = Exclusions(replica)
    assert exclusions._sets[SITE.site_id] is exclusions._sets[OTHER_SITE.site_id]
    assert exclusions.find(SITE, SUBJECT).rule == "path /admin of example.com"
    assert exclusions.find(OTHER_SITE, SUBJECT).rule == "path /admin of other.example"
    put(replica, Change(rule(3, "path", "/other", SITE.site_id), 1))
    before = exclusions._sets[OTHER_SITE.site_id]
    exclusions.refresh()
    assert exclusions._sets[OTHER_SITE.site_id] is before
    assert exclusions.find(SITE, SUBJECT._replace(path="/other/a"))
    assert exclusions.find(OTHER_SITE, SUBJECT._replace(path="/other/a")) is None
    put(replica, Change(SITE, 2, removed=True))
    exclusions.refresh()
    assert exclusions.none_for(SITE)


def test_of_a_large_set_only_what_changed_is_looked_at(replica: Replica, monkeypatch: pytest.MonkeyPatch):
    kinds = {"cidr": "10.0.{}.0/24", "user_agent": "agent {} of none", "path": "/section/{}"}
    many = [rule(n, kind, text.format(n // 3 % 250)) for n, (kind, text) in enumerate([*kinds.items()] * 300)]
    put(replica, *(Change(each, 1) for each in many))
    exclusions = Exclusions(replica)
    subject = SUBJECT._replace(country="")
    assert exclusions.find(SITE, subject) is None
    monkeypatch.setattr(Exclusions, "_compiled", None)  # nothing is compiled again
    matching = {"cidr": "203.0.113.0/24", "user_agent": "headlesschrome", "path": "/admin"}
    for number, (kind, value) in enumerate(matching.items(), 1_000):
        put(replica, Change(rule(number, kind, value), 1))
        exclusions.refresh()
        assert exclusions.find(SITE, subject).rule == f"{kind} {value} of this instance"
        put(replica, Change(rule(number, kind, value), 2, removed=True))
        exclusions.refresh()
        assert exclusions.find(SITE, subject) is None
        assert exclusions.find(SITE, subject) is None, "out of a cache"
    put(replica, Change(rule(2_000, "country", "DE"), 1), Change(rule(2_001, "country", "DE"), 1))
    exclusions.refresh()
    put(replica, Change(rule(2_000, "country", "DE"), 2, removed=True))
    exclusions.refresh()
    assert exclusions.find(SITE, SUBJECT).rule == "country DE of this instance", "it is there twice"
    old = Subject("10.0.7.1", "", "agent 7 of none", "/section/7")
    assert exclusions.find(SITE, old).rule.startswith("cidr 10.0.7.0/24")
    assert len(exclusions._sets[None]) >= module._LARGE


def test_a_rule_spelt_otherwise_makes_a_large_set_be_compiled_again(replica: Replica):
    put(replica, *(Change(rule(n, "path", f"/section/{n}"), 1) for n in range(600)))
    exclusions = Exclusions(replica)
    put(replica, Change(rule(1_000, "path", "/admin/"), 1), Change(rule(1_001, "path", "/admin"), 1))
    exclusions.refresh()
    put(replica, Change(rule(1_001, "path", "/admin"), 2, removed=True))
    exclusions.refresh()
    assert exclusions.find(SITE, SUBJECT).rule == "path /admin/ of this instance"
    put(replica, Change(rule(1_002, "colour", "red"), 1))
    exclusions.refresh()
    assert "is ignored" in exclusions.problems["exclusions"]
    assert exclusions.find(SITE, SUBJECT._replace(path="/section/3"))

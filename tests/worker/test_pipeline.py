from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.outcomes import DROP_REASONS, Outcome
from shared.pageview import pack, parse, unpack
from tests.worker.factories import (
    ANY,
    CITY_RECORDS,
    NOW_MS,
    OTHER_SITE,
    SITE,
    FakeRegistry,
    made_settings,
    pageview,
    write_database,
)
from worker.lookups.lookups import Lookups
from worker.pipeline import Drop, Row, Steps, build_steps, process, traced
from worker.row import make_row

DAY_MS = 86_400_000


DROPPED: dict[Outcome, dict[str, Any]] = {
    Outcome.UNKNOWN_SITE: {"hostname": "nobody.example"},
    Outcome.TOO_OLD: {"timestamp_ms": NOW_MS - 3651 * DAY_MS},
    Outcome.DNT: {"dnt": True},
    Outcome.EXCLUDED_CIDR: {"visitor_ip": "203.0.113.9"},
    Outcome.EXCLUDED_COUNTRY: {"visitor_ip": "2a02:8070::1"},
    Outcome.EXCLUDED_USER_AGENT: {"user_agent": "Mozilla/5.0 headlesschrome/1"},
    Outcome.EXCLUDED_PATH: {"url": "https://example.com/admin/x"},
    Outcome.SPAM_NETWORK: {"visitor_ip": "192.0.2.9"},
    Outcome.SPAM_REFERRER: {"referrer": "https://www2.spam.example/"},
}


def test_a_plain_pageview_becomes_a_row(steps):
    row = process(pageview(url="https://example.com/a?utm_source=x", language="en-us"), steps)
    assert isinstance(row, Row)
    assert row.site is SITE
    assert row.location.city == "London"
    assert row.location.asn == 20712
    assert row.agent.browser == "Firefox"
    assert (row.page.path, row.page.utm_source, row.language) == ("/a", "x", "en-US")


@pytest.mark.parametrize("reason", DROPPED)
def test_every_reason_to_drop_is_given_with_the_rule_that_made_it(steps, reason):
    drop = process(pageview(**DROPPED[reason]), steps)
    assert isinstance(drop, Drop)
    assert drop.reason == reason
    assert drop.site_id == (None if reason is Outcome.UNKNOWN_SITE else SITE.site_id)
    assert drop.rule
    assert DROPPED[reason].get("visitor_ip", "no address") not in drop.rule


def test_every_reason_is_tried_here():
    assert set(DROPPED) == DROP_REASONS


def test_the_first_reason_in_the_order_of_the_steps_counts(steps):
    left = dict(DROPPED)
    while left:
        fields: dict[str, Any] = {}
        for reason in reversed(left):
            fields |= left[reason]
        assert process(pageview(**fields), steps).reason == next(iter(left))
        left.pop(next(iter(left)))


def test_a_site_s_rules_are_its_own(steps):
    fields = DROPPED[Outcome.EXCLUDED_PATH] | {"hostname": "other.example"}
    assert isinstance(process(pageview(**fields), steps), Row)
    assert (
        process(pageview(hostname="other.example", timestamp_ms=NOW_MS - 31 * DAY_MS), steps).site_id
        == OTHER_SITE.site_id
    )


def test_steps_can_be_traced_without_another_outcome(steps):
    seen = []
    row = process(pageview(), traced(steps, lambda name, answer: seen.append((name, answer))))
    assert row == process(pageview(), steps)
    assert [name for name, _ in seen] == list(Steps._fields)
    seen.clear()
    drop = process(pageview(dnt=True), traced(steps, lambda name, answer: seen.append((name, answer))))
    assert seen[-1] == ("drop_dnt", drop)


def test_changes_take_effect_at_a_refresh(tmp_path):
    registry = FakeRegistry()
    lookups = Lookups(made_settings(tmp_path), registry)
    steps = build_steps(lookups, lambda: NOW_MS)
    assert process(pageview(), steps).location.country == ""
    (tmp_path / "geo").mkdir()
    write_database(tmp_path / "geo" / "city.mmdb", CITY_RECORDS)
    lookups.refresh()
    assert process(pageview(), steps).location.country == "GB"
    registry.exclude("country", "GB")
    lookups.refresh()
    assert process(pageview(), steps).reason == Outcome.EXCLUDED_COUNTRY
    assert set(lookups.problems) == {"geo_asn"}


def test_a_refresh_raises_nothing(tmp_path):
    registry = FakeRegistry()
    lookups = Lookups(made_settings(tmp_path), registry)
    registry.generation = 7
    registry.rules = None  # type: ignore[assignment]  # as when it was closed
    lookups.refresh()
    registry.rules = []
    lookups.refresh()
    assert lookups.exclusions.problems == {}


@given(ANY)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_raises_for_nothing_that_can_be_parsed(steps, given_pageview):
    (item,) = unpack(b"\x91" + pack(given_pageview))
    end = process(parse(item), steps)
    assert isinstance(end, Row) or end.reason in DROP_REASONS


#: In the order in which they are taken: what a step needs of others comes before it, and what is slow after every drop.
ORDER = (
    "put_site", "drop_too_old", "drop_dnt", "put_location", "put_page", "drop_excluded", "drop_spam_network",
    "put_referrer", "drop_spam_referrer", "put_source", "put_agent", "put_language", "put_visitor",
)  # fmt: skip
ENDING = [name for name in ORDER if name.startswith("drop_") or name == "put_site"]


@given(st.sets(st.sampled_from(ENDING)))
def test_the_first_step_that_drops_ends_it_and_nothing_after_it_is_computed(dropping):
    taken: list[tuple[str, tuple[Any, ...]]] = []

    def step(name: str) -> Any:
        def take(*arguments: Any) -> Any:
            taken.append((name, arguments))
            if name in dropping:
                return Drop(Outcome.DNT, None, name)
            return None if name.startswith("drop_") else name

        return take

    end = process(pageview(), Steps(**{name: step(name) for name in Steps._fields}))
    first = next((name for name in ORDER if name in dropping), None)
    assert [name for name, _ in taken] == list(ORDER[: ORDER.index(first) + 1 if first else None])
    if first is not None:
        assert end.rule == first
        return
    added: list[Any] = [f"put_{name}" for name in Row._fields[: Row._fields.index("hostname")]]
    assert end == make_row(pageview(), *added)
    given_to = dict(taken)
    assert given_to["drop_excluded"] == (pageview(), "put_site", "put_location", "put_page")
    assert given_to["drop_spam_referrer"] == ("put_referrer", "put_site")
    assert given_to["put_source"] == (pageview(), "put_site", "put_referrer", "put_page")

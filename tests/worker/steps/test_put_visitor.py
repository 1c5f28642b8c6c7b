from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from hypothesis import given

from tests.worker.factories import ANY, NOW_MS, OTHER_SITE, SITE, pageview
from worker.lookups.salts import DAY_MS, SaltNotReady, Salts
from worker.steps.put_visitor import NO_VISITOR, put_visitor

TODAY = NOW_MS // DAY_MS
DERIVED = replace(SITE, derived_sessions=True)
WITHOUT = pageview(has_session=False)


@pytest.fixture
def salts() -> Salts:
    made = Salts()
    made.replace({day: day.to_bytes(32) for day in range(TODAY - 1, TODAY + 3)}, TODAY)
    return made


def test_a_visitor_is_the_same_on_a_site_and_day_and_another_elsewhere(salts: Salts) -> None:
    one = put_visitor(salts, WITHOUT, DERIVED)
    assert one.visitor_id
    assert put_visitor(salts, WITHOUT._replace(url="https://example.com/b", referrer="x"), DERIVED) == one
    assert put_visitor(salts, WITHOUT._replace(received_ms=0, session_id=bytes(16)), DERIVED) == one
    others = [
        put_visitor(salts, WITHOUT._replace(visitor_ip="81.2.69.143"), DERIVED),
        put_visitor(salts, WITHOUT._replace(user_agent="Other/1.0"), DERIVED),
        put_visitor(salts, WITHOUT._replace(timestamp_ms=NOW_MS + DAY_MS), DERIVED),
        put_visitor(salts, WITHOUT, replace(OTHER_SITE, derived_sessions=True)),
    ]
    assert len({one, *others}) == 5


def test_its_id_is_a_uuid_that_leaves_room_for_when_a_session_begins(salts: Salts) -> None:
    number = put_visitor(salts, WITHOUT, DERIVED).visitor_id
    assert uuid.UUID(int=number).version == 8
    assert uuid.UUID(int=number).variant == uuid.RFC_4122
    assert number % (1 << 28) == 0
    assert DAY_MS < 1 << 28


def test_only_on_sites_that_ask_for_it_and_without_a_session_of_its_own(salts: Salts) -> None:
    assert put_visitor(salts, WITHOUT, SITE) == NO_VISITOR
    assert put_visitor(salts, pageview(), DERIVED) == NO_VISITOR


def test_a_day_without_a_salt_has_no_visitors(salts: Salts) -> None:
    for days in (-2, -20_000, 3, 400):
        assert put_visitor(salts, WITHOUT._replace(timestamp_ms=NOW_MS + days * DAY_MS), DERIVED) == NO_VISITOR


def test_a_salt_that_is_being_made_is_waited_for() -> None:
    salts = Salts()
    asked: list[bool] = []
    salts.on_missing = lambda: asked.append(True)
    with pytest.raises(SaltNotReady):
        put_visitor(salts, WITHOUT, DERIVED)
    salts.replace({}, TODAY)
    with pytest.raises(SaltNotReady):
        put_visitor(salts, WITHOUT, DERIVED)
    assert put_visitor(salts, WITHOUT._replace(timestamp_ms=NOW_MS - DAY_MS), DERIVED) == NO_VISITOR, "never made"
    assert asked == [True, True]


@given(ANY)
def test_any_pageview_has_a_visitor(given) -> None:
    salts = Salts()
    salts.replace({given.timestamp_ms // DAY_MS: bytes(32)}, TODAY)
    assert put_visitor(salts, given._replace(has_session=False), DERIVED).visitor_id

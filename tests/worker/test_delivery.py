"""Under which key a message is counted, and whether it may have been seen before."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared import dead_letters
from shared.message import Headers
from shared.outcomes import Outcome
from shared.refusals import Refusal
from tests.worker.deliveries import FakeDelivery
from worker.delivery import (
    LATEST_MS,
    NIL,
    MessageKey,
    PageviewOutcome,
    Poison,
    ProcessedMessage,
    accepted_at,
    key_of,
    part_headers,
)

BATCH = uuid.UUID(int=7)
DAY = date(2026, 5, 27)
BEFORE_MIDNIGHT = datetime(2026, 5, 27, 23, 59, 59, 999_000, tzinfo=UTC)
EPOCH = datetime.fromtimestamp(0, UTC)
LATEST = datetime.fromtimestamp(LATEST_MS / 1000, UTC)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (BEFORE_MIDNIGHT, BEFORE_MIDNIGHT),
        (None, EPOCH),
        (EPOCH, EPOCH),
        (EPOCH + timedelta(milliseconds=1), EPOCH + timedelta(milliseconds=1)),
        (EPOCH - timedelta(seconds=1), EPOCH),
        (LATEST, LATEST),
        (LATEST + timedelta(seconds=1), EPOCH),
    ],
)
def test_a_message_is_of_its_publisher_s_time_unless_no_table_can_hold_it(
    time: datetime | None, expected: datetime
) -> None:
    assert accepted_at(FakeDelivery(timestamp=time)) == expected


def delivery(**changed: Any) -> FakeDelivery:
    return FakeDelivery(**{"message_id": str(BATCH), "timestamp": BEFORE_MIDNIGHT, **changed})


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        (Headers(BATCH, 3, 0), 0),
        (Headers(BATCH, 3, 0, first_position=4), 0),
        (Headers(BATCH, 1, 0, first_position=0, repeated=True), 1),
        (Headers(BATCH, 1, 0, first_position=4, repeated=True), 5),
    ],
)
def test_a_message_is_counted_under_its_day_and_the_dead_letter_of_a_pageview_under_its_position(
    headers: Headers, part: int
) -> None:
    other = delivery(message_id="ignored", headers={"repeated": True, "first_position": 9})
    assert key_of(other, headers) == MessageKey(BATCH, part, DAY)


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        (None, 0),
        ({}, 0),
        ({"repeated": True, "first_position": 0}, 1),
        ({"repeated": True, "first_position": 4}, 5),
        ({"repeated": True, "first_position": 65_534}, 65_535),
        ({"repeated": True, "first_position": 65_535}, 0),
        ({"repeated": True, "first_position": -1}, 0),
        ({"repeated": True, "first_position": True}, 0),
        ({"repeated": True, "first_position": "4"}, 0),
        ({"repeated": True}, 0),
        ({"repeated": False, "first_position": 4}, 0),
        ({"repeated": 1, "first_position": 4}, 0),
        ({"first_position": 4}, 0),
    ],
)
def test_one_that_can_not_be_opened_is_counted_as_far_as_its_headers_can_be_believed(headers: Any, part: int) -> None:
    assert key_of(delivery(headers=headers), None) == MessageKey(BATCH, part, DAY)


@pytest.mark.parametrize("message_id", [None, "", "no uuid", 7])
def test_a_message_without_an_id_has_the_same_at_each_delivery(message_id: Any) -> None:
    expected = uuid.UUID("42ab0965-36ac-51c2-9ef5-3266f42aaa46")
    assert key_of(delivery(message_id=message_id, body=b"body"), None) == MessageKey(expected, 0, DAY)
    assert key_of(
        delivery(message_id=message_id, body=b"body", headers={"repeated": True, "first_position": 1}), None
    ) == (MessageKey(expected, 2, DAY))
    assert key_of(delivery(message_id=message_id, body=b"other"), None).batch_id != expected


def test_a_pageview_s_letter_names_its_place_and_keeps_the_schema_of_its_message() -> None:
    assert part_headers(Headers(BATCH, 9, 42, first_position=3, schema=1), 5) == Headers(
        BATCH, 1, 42, first_position=5, repeated=True, schema=1
    )


def processed(given: FakeDelivery, headers: Headers | None = None, **more: Any) -> ProcessedMessage:
    return ProcessedMessage(given, headers, {}, more.pop("outcomes", {}), more.pop("poison", ()), 1, **more)


@pytest.mark.parametrize(
    ("changed", "headers", "seen"),
    [
        ({}, None, False),
        ({"headers": None}, None, False),
        ({}, Headers(BATCH, 1, 0), False),
        ({"redelivered": True}, None, True),
        ({"redelivered": None}, Headers(BATCH, 1, 0), False),
        ({}, Headers(BATCH, 1, 0, repeated=True), True),
        ({"headers": {dead_letters.REPLAYED: True}}, None, True),
        ({"headers": {dead_letters.REPLAYED: True}}, Headers(BATCH, 1, 0), True),
    ],
)
def test_what_was_redelivered_repeated_or_replayed_may_be_stored_already(
    changed: dict[str, Any], headers: Headers | None, seen: bool
) -> None:
    assert processed(delivery(**changed), headers).seen_before is seen


def test_refusals_of_one_minute_client_and_reason_add_up_with_outcomes_of_the_same_name() -> None:
    refusal = Refusal(120, b"c" * 16, "invalid", "url")
    outcome = PageviewOutcome(120, NIL, b"c" * 16, refusal.outcome)
    stored = PageviewOutcome(120, b"s" * 16, b"c" * 16, Outcome.STORED)
    given = processed(delivery(), refused={refusal: 5}, outcomes={0: outcome, 1: stored, 2: stored})
    assert given.counts() == {outcome: 6, stored: 2}


def test_a_message_that_can_not_be_opened_is_as_much_poison_as_it_says() -> None:
    dead = PageviewOutcome(0, NIL, NIL, Outcome.DEAD_LETTERED)
    whole = (Poison(None, None, "why"),)
    assert processed(delivery(), outcomes=dict.fromkeys(range(7), dead), poison=whole).poison_pageviews == 7
    some = (Poison(1, (), "why"), Poison(2, (), "why"))
    assert processed(delivery(), Headers(BATCH, 7, 0), outcomes={0: dead}, poison=some).poison_pageviews == 2

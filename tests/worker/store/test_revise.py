"""A message's results change with what ClickHouse holds and refuses, and only by way of a new value."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pytest

from shared.message import Headers
from shared.outcomes import Outcome
from tests.worker.deliveries import FakeDelivery
from tests.worker.factories import SITE, pageview
from worker.delivery import PageviewOutcome, Poison, ProcessedMessage
from worker.lookups.agents import Agent
from worker.lookups.geo_records import NOWHERE
from worker.lookups.sources import Source
from worker.row import Row, make_row
from worker.steps.put_page import Page
from worker.steps.put_referrer import Referrer
from worker.steps.put_visitor import NO_VISITOR
from worker.store.revise import revise

BATCH = uuid.UUID(int=7)
ID = BATCH.bytes
MINUTE = 1_780_000_020
OTHER_SITE = b"o" * 16
CLIENT = b"c" * 16
STORED = PageviewOutcome(MINUTE, SITE.site_id, CLIENT, Outcome.STORED)
DROPPED = PageviewOutcome(MINUTE, SITE.site_id, CLIENT, Outcome.DNT)
DEAD = PageviewOutcome(MINUTE, bytes(16), CLIENT, Outcome.DEAD_LETTERED)
POISON = Poison(2, ("item",), "url is not of type str")
ITEMS = [("an", "item", position) for position in range(4)]


def row_of(**fields: Any) -> Row:
    """Return the row of a pageview with `fields`, of which nothing is known but its site."""
    return make_row(
        pageview(**fields), SITE, NOWHERE, Agent._make(["agent", *[""] * (len(Agent._fields) - 1)]),
        Referrer._make([""] * len(Referrer._fields)), Source("", "direct"), Page._make([""] * len(Page._fields)), "",
        NO_VISITOR,
    )  # fmt: skip


ROW = row_of()


def message(*, repeated: bool = False) -> ProcessedMessage:
    """Positions 0 and 3 to be stored, 1 dropped, 2 poison."""
    outcomes = {0: STORED, 1: DROPPED, 2: DEAD, 3: STORED}
    headers = Headers(BATCH, 4, 0, repeated=repeated)
    return ProcessedMessage(
        FakeDelivery(), headers, {0: ROW, 3: ROW}, outcomes, (POISON,), 100, (1, 2), reopen=lambda: ITEMS
    )


def test_a_result_can_not_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        message().poison = ()  # type: ignore[misc]


def test_with_nothing_to_say_everything_stays() -> None:
    assert revise(message()) == message()
    assert revise(message(), stored={(b"x" * 16, 0): OTHER_SITE}, refused={(b"x" * 16, 3): "A"}) == message()


@pytest.mark.parametrize(("position", "poison"), [(0, (POISON,)), (1, (POISON,)), (2, ())])
def test_stored_pageviews_keep_their_site(position: int, poison: tuple[Poison, ...]) -> None:
    before = message()
    after = revise(before, stored={(ID, position): OTHER_SITE})
    assert after.outcomes == dict(before.outcomes) | {
        position: PageviewOutcome(MINUTE, OTHER_SITE, CLIENT, Outcome.STORED)
    }
    assert after.rows == {each: ROW for each in (0, 3) if each != position}
    assert after.poison == poison
    assert before == message(), "the result before was changed"


@pytest.mark.parametrize("position", [0, 1, 2])
def test_what_was_replayed_since_is_left_to_its_replay(position: int) -> None:
    earlier = DEAD._replace(client_id=b"e" * 16)
    after = revise(message(), replayed={(ID, position): earlier})
    assert after.outcomes == dict(message().outcomes) | {position: earlier}
    assert position not in after.rows
    assert all(each.position != position for each in after.poison)


def test_a_replay_is_counted_regardless_of_earlier_replays() -> None:
    assert revise(message(repeated=True), replayed={(ID, 0): DEAD}) == message(repeated=True)


def test_a_replay_s_count_stands_also_where_the_row_is_found() -> None:
    after = revise(message(), stored={(ID, 0): SITE.site_id}, replayed={(ID, 0): DEAD})
    assert after.outcomes[0] == DEAD
    assert set(after.rows) == {3}


def test_a_refused_row_becomes_poison_that_is_admitted_already() -> None:
    after = revise(message(), refused={(ID, 3): "VIOLATED_CONSTRAINT", (ID, 1): "not a row"})
    assert set(after.rows) == {0}
    assert after.outcomes == dict(message().outcomes) | {3: STORED._replace(outcome=Outcome.DEAD_LETTERED)}
    assert after.poison == (POISON, Poison(3, ITEMS[3], "ClickHouse: VIOLATED_CONSTRAINT", admitted=True))
    assert (after.delivery, after.size, after.times) == (message().delivery, 100, (1, 2))


def test_of_a_replayed_letter_the_item_is_the_first() -> None:
    headers = Headers(BATCH, 1, 0, first_position=3, repeated=True)
    letter = ProcessedMessage(FakeDelivery(), headers, {3: ROW}, {3: STORED}, (), 1, reopen=lambda: [("again",)])
    assert [each[:2] for each in revise(letter, refused={(ID, 3): "A"}).poison] == [(3, ("again",))]


def test_every_pageview_has_one_outcome_and_at_most_one_of_row_and_poison() -> None:
    after = revise(message(), stored={(ID, 2): OTHER_SITE}, replayed={(ID, 1): DEAD}, refused={(ID, 0): "A"})
    assert set(after.outcomes) == {0, 1, 2, 3}
    assert set(after.rows) == {3}
    assert [each.position for each in after.poison] == [0]


def test_a_message_that_can_not_be_opened_stays_as_it_is() -> None:
    whole = ProcessedMessage(FakeDelivery(), None, {}, {0: DEAD}, (Poison(None, None, "no key"),), 1)
    assert revise(whole, stored={(ID, 0): OTHER_SITE}) is whole

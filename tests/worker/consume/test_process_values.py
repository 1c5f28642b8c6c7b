"""What each pageview of a message becomes, with which values: rows, outcomes, and poison at the edges."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clocks import Clocks
from shared.message import Headers, build
from shared.outcomes import Outcome
from shared.pageview import QueuedPageview, join, pack_item, to_item
from shared.seal import Opener, Sealer
from tests.worker.consume.test_process import BATCH, KEY, delivery, steps
from tests.worker.deliveries import FakeDelivery
from tests.worker.factories import NOW_MS, OTHER_SITE, SITE, pageview
from tests.worker.store.test_revise import ROW, row_of
from worker.consume.process import OpenedMessage, open_message, process_message
from worker.delivery import LATEST_MS, NIL, PageviewOutcome, Poison, ProcessedMessage
from worker.drop import Drop
from worker.pipeline import Steps

MINUTE = NOW_MS // 60_000 * 60
CLIENT = b"c" * 16
NO_SITE = Drop(Outcome.UNKNOWN_SITE, None, "no site")
DNT = Drop(Outcome.DNT, SITE.site_id, "dnt")


def put_site(view: QueuedPageview) -> Any:
    return {"example.com": SITE, "other.example": OTHER_SITE, "dnt": DNT}.get(view.hostname, NO_SITE)


def all_steps() -> Steps:
    nothing = steps(put_site)._asdict()
    made: dict[str, Any] = {name: lambda *_, name=name: getattr(ROW, name[4:], None) for name in nothing}
    return Steps(**{**made, "put_site": put_site})


class Told(Clocks):
    """Clocks that note how far ahead a gateway is said to be."""

    ahead: float | None = None

    def received(self, ahead_s: float) -> None:
        self.ahead = ahead_s


async def processed(given: FakeDelivery, clocks: Clocks | None = None) -> ProcessedMessage:
    opened = open_message(given, Opener([KEY]))
    assert isinstance(opened, OpenedMessage)
    return await process_message(opened, all_steps(), clocks or Clocks(wall_clock=lambda: NOW_MS / 1000))


views = st.lists(
    st.builds(
        pageview,
        client_id=st.sampled_from([b"a" * 16, b"b" * 16]),
        received_ms=st.sampled_from([NOW_MS, NOW_MS - 60_000]),
        hostname=st.sampled_from(["example.com", "other.example", "dnt", "nobody.example"]),
        timestamp_ms=st.sampled_from([NOW_MS, NOW_MS - 86_400_000]),
    ),
    min_size=1,
    max_size=6,
)


@given(views, st.integers(0, 3))
async def test_each_is_a_row_or_dropped_by_its_own_minute_site_and_client(
    some: list[QueuedPageview], first: int
) -> None:
    given = delivery(*some, first_position=first)
    result = await processed(given)
    for position, view in enumerate(some, first):
        found = put_site(view)
        dropped = isinstance(found, Drop)
        expected = (found.reason, found.site_id or NIL) if dropped else (Outcome.STORED, found.site_id)
        minute = view.received_ms // 60_000 * 60
        assert result.outcomes[position] == PageviewOutcome(minute, expected[1], view.client_id, expected[0])
        assert (position in result.rows) is not dropped
        if not dropped:
            assert result.rows[position] == row_of(**view._asdict())._replace(site=found)
    assert result.reopen() == tuple(map(tuple, some))
    assert result.times == tuple(view.timestamp_ms for view in some)
    assert (result.headers, result.poison, result.refused) == (Headers(BATCH, len(some), 0, first), (), {})
    assert result.delivery is given
    assert result.size == len(join([pack_item(tuple(view)) for view in some]))


@pytest.mark.parametrize("ahead_ms", [-7_000, 0, 300_000, 300_001])
async def test_a_clock_may_be_ahead_by_five_minutes(ahead_ms: int) -> None:
    clocks = Told(wall_clock=lambda: NOW_MS / 1000)
    result = await processed(delivery(pageview(received_ms=NOW_MS + ahead_ms)), clocks)
    counted_ms = NOW_MS if ahead_ms > 300_000 else NOW_MS + ahead_ms
    assert result.outcomes[0].minute == counted_ms // 60_000 * 60
    assert clocks.ahead == ahead_ms / 1000


@pytest.mark.parametrize("time_ms", [0, 1, LATEST_MS])
async def test_the_first_and_the_last_moment_that_a_table_can_hold_are_stored(time_ms: int) -> None:
    clocks = Clocks(wall_clock=lambda: LATEST_MS / 1000)
    result = await processed(delivery(pageview(received_ms=time_ms, timestamp_ms=time_ms)), clocks)
    assert list(result.rows) == [0]
    assert result.outcomes[0].minute == time_ms // 60_000 * 60


@pytest.mark.parametrize("time_ms", [-1, LATEST_MS + 1])
async def test_a_time_that_no_table_can_hold_is_poison(time_ms: int) -> None:
    wrong = pageview(timestamp_ms=time_ms)
    later = pageview(received_ms=time_ms)
    result = await processed(delivery(wrong, later))
    assert result.poison == (
        Poison(0, tuple(wrong), "timestamp_ms is out of range"),
        Poison(1, tuple(later), "received_ms is beyond any clock"),
    )
    assert list(result.outcomes.values()) == [
        PageviewOutcome(MINUTE, NIL, CLIENT, Outcome.DEAD_LETTERED),
        PageviewOutcome(0, NIL, CLIENT, Outcome.DEAD_LETTERED),
    ]
    assert result.times == ()


@pytest.mark.parametrize(
    ("item", "client_id", "minute"),
    [
        ((CLIENT, NOW_MS), CLIENT, MINUTE),
        ((CLIENT, 0), CLIENT, 0),
        ((CLIENT, 59_999), CLIENT, 0),
        ((CLIENT, LATEST_MS), CLIENT, LATEST_MS // 60_000 * 60),
        ((CLIENT, LATEST_MS + 1), CLIENT, 0),
        ((CLIENT, -1), CLIENT, 0),
        ((CLIENT, "now"), CLIENT, 0),
        ((CLIENT, True), CLIENT, 0),
        ((b"short", NOW_MS), NIL, MINUTE),
        (("c" * 16, NOW_MS), NIL, MINUTE),
        ((CLIENT,), NIL, 0),
        ("text", NIL, 0),
        (7, NIL, 0),
    ],
)
async def test_poison_is_counted_by_what_can_be_read_of_it(item: Any, client_id: bytes, minute: int) -> None:
    result = await processed(delivery(item))
    assert result.outcomes == {0: PageviewOutcome(minute, NIL, client_id, Outcome.DEAD_LETTERED)}


async def test_pageviews_of_the_schema_before_are_read_as_such() -> None:
    item = to_item(pageview(), 1)
    message = build(Headers(BATCH, 1, 0, schema=1), join([pack_item(item)]), Sealer([KEY]))
    result = await processed(FakeDelivery(message.body, message.headers, message.message_id))
    assert result.rows[0] == row_of()._replace(site=SITE)


def test_a_message_that_can_not_be_opened_is_counted_in_the_minute_in_which_it_was_published() -> None:
    at = datetime(2026, 5, 28, 12, 34, 56, tzinfo=UTC)
    given = FakeDelivery(b"sealed by nobody", {"pageviews": 1}, str(BATCH), timestamp=at)
    result = open_message(given, Opener([KEY]))
    assert isinstance(result, ProcessedMessage)
    expected = PageviewOutcome(int(at.replace(second=0).timestamp()), NIL, NIL, Outcome.DEAD_LETTERED)
    assert result.outcomes == {0: expected}
    assert (result.delivery, result.headers, result.rows, result.size) == (given, None, {}, 16)
    assert result.poison == (Poison(None, None, "message id or headers are missing or malformed"),)


@pytest.mark.parametrize("headers", [None, {}])
def test_a_message_without_headers_counts_for_one(headers: Any) -> None:
    result = cast("ProcessedMessage", open_message(FakeDelivery(headers=headers), Opener([KEY])))
    assert len(result.outcomes) == 1


def test_a_message_with_more_or_fewer_pageviews_than_it_says_is_poison() -> None:
    message = build(Headers(BATCH, 3, 0), join([pack_item(tuple(pageview()))] * 2), Sealer([KEY]))
    result = cast(
        "ProcessedMessage",
        open_message(FakeDelivery(message.body, message.headers, message.message_id), Opener([KEY])),
    )
    assert result.poison == (Poison(None, None, "2 pageviews instead of 3"),)
    assert len(result.outcomes) == 3

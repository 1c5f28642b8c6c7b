"""From a delivery to the results of its pageviews, without a broker."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Callable
from typing import Any, cast

import pytest

from shared import refusals
from shared.clocks import Clocks
from shared.message import MAX_PAGEVIEWS, Headers, NewerSchema, build
from shared.outcomes import Outcome
from shared.pageview import SCHEMA_VERSION, QueuedPageview, join, pack, pack_item
from shared.refusals import Refusal
from shared.seal import Opener, Sealer
from tests.worker.deliveries import FakeDelivery
from tests.worker.factories import NOW_MS, SITE, pageview
from worker.consume.process import Processor, open_message
from worker.consume.registry_gate import RegistryGate
from worker.delivery import NIL, ProcessedMessage
from worker.drop import Drop
from worker.pipeline import Steps

KEY = b"k" * 32
BATCH = uuid.UUID(int=7)
DNT = Drop(Outcome.DNT, SITE.site_id, "dnt")


class FakeGate:
    """Allows messages up to a registry version, and notes what it was asked."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.calls: list[str] = []

    def allows(self, version: int) -> bool:
        return version <= self.version

    def refresh(self, when_ready: Callable[[], None]) -> None:
        self.calls.append("refresh")
        when_ready()

    def resume(self) -> None:
        self.calls.append("resume")


def steps(put_site: Callable[[QueuedPageview], Any]) -> Steps:
    """Steps that end at the first."""
    return Steps(put_site, *[None] * (len(Steps._fields) - 1))  # type: ignore[arg-type]


def delivery(*items: Any, registry_version: int = 0, first_position: int = 0) -> FakeDelivery:
    packed = [pack(item) if isinstance(item, QueuedPageview) else pack_item(item) for item in items]
    message = build(Headers(BATCH, len(items), registry_version, first_position), join(packed), Sealer([KEY]))
    return FakeDelivery(message.body, message.headers, message.message_id, timestamp=message.timestamp)


NO_OTHERS = Clocks()


def processed(
    given: FakeDelivery, put_site: Callable[[QueuedPageview], Any], gate: FakeGate, clocks: Clocks = NO_OTHERS
) -> tuple[ProcessedMessage | None, list[str]]:
    ready: list[str] = []
    processor = Processor(Opener([KEY]), steps(put_site), cast("RegistryGate", gate), clocks)
    return asyncio.run(processor.process(given, lambda: ready.append("ready"))), ready


def test_each_pageview_has_an_outcome_by_its_position() -> None:
    given = delivery(pageview(), (1, 2), pageview(timestamp_ms=NOW_MS - 5), first_position=3)
    result, _ = processed(given, lambda _: DNT, gate := FakeGate(0))
    assert result is not None
    assert [each.outcome for each in result.outcomes.values()] == [Outcome.DNT, Outcome.DEAD_LETTERED, Outcome.DNT]
    assert list(result.outcomes) == [3, 4, 5]
    assert [(each.position, each.item) for each in result.poison] == [(4, (1, 2))]
    assert sorted(result.times) == [NOW_MS - 5, NOW_MS]
    assert gate.calls == ["resume"]


def test_a_defect_of_a_step_costs_one_pageview_and_quotes_nothing_of_it() -> None:
    def put_site(given: QueuedPageview) -> Drop:
        if given.visitor_ip == "192.0.2.1":
            raise ZeroDivisionError(given.visitor_ip)
        return DNT

    bad = pageview(visitor_ip="192.0.2.1", timestamp_ms=NOW_MS - 9)
    result, _ = processed(delivery(pageview(), bad), put_site, FakeGate(0))
    assert result is not None
    (poison,) = result.poison
    assert (poison.position, poison.item, poison.reason) == (1, tuple(bad), "pipeline failed: ZeroDivisionError")
    assert result.outcomes[1].client_id == bad.client_id
    assert (min(result.times), max(result.times)) == (NOW_MS - 9, NOW_MS), (
        "an earlier delivery may have stored it, so it is looked for"
    )


def test_a_message_of_expensive_pageviews_yields_to_the_loop() -> None:
    def put_site(_: QueuedPageview) -> Drop:
        time.sleep(0.004)
        return DNT

    async def turns_meanwhile() -> int:
        processor = Processor(Opener([KEY]), steps(put_site), cast("RegistryGate", FakeGate(0)), Clocks())
        processing = asyncio.create_task(processor.process(delivery(*[pageview()] * 20), lambda: None))
        turns = 0
        while not processing.done():
            turns += 1
            await asyncio.sleep(0)
        assert len((await processing).outcomes) == 20
        return turns

    assert asyncio.run(turns_meanwhile()) > 4  # 80 ms in slices of 10


@pytest.mark.parametrize("error", [sqlite3.OperationalError(), OSError(), MemoryError()])
def test_a_failure_of_this_machine_costs_nothing_and_waits(error: Exception) -> None:
    def put_site(_: QueuedPageview) -> Drop:
        raise error

    result, ready = processed(delivery(pageview()), put_site, gate := FakeGate(0))
    assert result is None
    assert gate.calls == ["refresh"]
    assert ready == ["ready"]


def test_a_message_waits_for_a_registry_as_new_as_its_own() -> None:
    result, ready = processed(delivery(pageview(), registry_version=2), lambda _: DNT, gate := FakeGate(1))
    assert result is None
    assert gate.calls == ["refresh"]
    assert ready == ["ready"]


def test_a_message_that_can_not_be_opened_waits_for_no_registry() -> None:
    given = delivery(pageview(), pageview(), registry_version=2)
    given.body = b"?" * 40
    result, _ = processed(given, lambda _: DNT, gate := FakeGate(0))
    assert result is not None
    assert result.headers is None
    assert [each.position for each in result.poison] == [None]
    assert len(result.outcomes) == result.poison_pageviews == 2
    assert {(each.site_id, each.outcome) for each in result.outcomes.values()} == {(NIL, Outcome.DEAD_LETTERED)}
    assert gate.calls == []


def test_a_message_of_a_newer_version_is_no_dead_letter() -> None:
    given = delivery(pageview())
    given.headers["schema"] = SCHEMA_VERSION + 1
    with pytest.raises(NewerSchema):
        processed(given, lambda _: DNT, FakeGate(0))


@pytest.mark.parametrize(
    ("said", "counted"), [(MAX_PAGEVIEWS, MAX_PAGEVIEWS), (MAX_PAGEVIEWS + 1, 1), (0, 1), (-1, 1), (True, 1), ("9", 1)]
)
def test_a_message_that_can_not_be_opened_counts_for_as_many_as_it_may_say(said: Any, counted: int) -> None:
    opened = open_message(FakeDelivery(headers={"pageviews": said}), Opener([KEY]))
    assert isinstance(opened, ProcessedMessage)
    assert len(opened.outcomes) == counted


def refusal_delivery(counts: dict[Refusal, int]) -> FakeDelivery:
    message = build(Headers(BATCH, 0, 0), join([]), Sealer([KEY]), {refusals.HEADER: refusals.write(counts)})
    return FakeDelivery(message.body, message.headers, message.message_id, timestamp=message.timestamp)


def test_refused_pageviews_are_counted_under_a_key_of_their_own() -> None:
    refusal = Refusal(1_780_000_020, b"c" * 16, "invalid", "url")
    result, _ = processed(refusal_delivery({refusal: 7}), lambda _: DNT, FakeGate(0))

    assert result is not None
    assert (result.rows, result.outcomes, result.poison) == ({}, {}, ())
    assert result.counts() == {(refusal.minute, NIL, refusal.client_id, "refused:invalid:url"): 7}
    assert result.key.batch_id not in (BATCH, uuid.UUID(int=0))


def test_a_version_that_does_not_know_them_finds_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "read", lambda _: {})
    given = refusal_delivery({Refusal(1_780_000_020, b"c" * 16, "invalid", "url"): 7})
    result, _ = processed(given, lambda _: DNT, FakeGate(0))

    assert result is not None
    assert (result.rows, result.outcomes, result.poison, result.counts()) == ({}, {}, (), {})
    assert result.key.batch_id == BATCH


@pytest.mark.parametrize("apart_ms", [-86_400_000, -60_000, -1, 1, 60_000, 31 * 86_400_000])
def test_outcomes_are_of_the_minute_of_receipt_and_of_each_client(apart_ms: int) -> None:
    """Whatever time the visitor's pageview has; of one that is poison too, as far as it can be read."""
    minute = NOW_MS // 60_000 * 60
    received = [minute * 1000, minute * 1000 + 59_999, minute * 1000 - 1]
    views = [
        pageview(received_ms=at, timestamp_ms=at + apart_ms, client_id=client * 16)
        for at, client in zip(received, (b"a", b"b", b"c"), strict=True)
    ]
    poison = (b"d" * 16, received[1], "example.com", 7)
    result, _ = processed(delivery(*views, poison), lambda _: DNT, FakeGate(0))
    assert result is not None
    assert [(each.minute, each.client_id[:1]) for each in result.outcomes.values()] == [
        (minute, b"a"), (minute, b"b"), (minute - 60, b"c"), (minute, b"d"),
    ]  # fmt: skip


def test_what_a_gateway_received_in_the_future_counts_as_of_now() -> None:
    day_ms = 86_400_000
    clocks = Clocks(wall_clock=lambda: NOW_MS / 1000)
    received = (NOW_MS + 2 * day_ms, NOW_MS + 60_000, NOW_MS - 2 * day_ms)
    given = delivery(*(pageview(received_ms=each) for each in received))
    result, _ = processed(given, lambda _: DNT, FakeGate(0), clocks)
    assert result is not None
    minutes = [outcome.minute for outcome in result.outcomes.values()]
    assert minutes == [each // 60_000 * 60 for each in (NOW_MS, NOW_MS + 60_000, NOW_MS - 2 * day_ms)]


def test_refusals_of_the_future_count_as_of_now() -> None:
    clocks = Clocks(wall_clock=lambda: NOW_MS / 1000)
    now = NOW_MS // 60_000 * 60
    counts = {Refusal(now + 86_400, b"c" * 16, "invalid", "url"): 2, Refusal(now, b"c" * 16, "invalid", "url"): 3}
    given = delivery()
    given.headers[refusals.HEADER] = refusals.write(counts)
    result, _ = processed(given, lambda _: DNT, FakeGate(0), clocks)
    assert result is not None
    assert result.refused == {Refusal(now, b"c" * 16, "invalid", "url"): 5}

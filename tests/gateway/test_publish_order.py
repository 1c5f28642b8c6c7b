"""Group commit in any order of submitting, going away, confirming and losing the broker, beside a model of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import publish
from gateway.broker import BrokerConnection, PublishUncertain
from gateway.publish import MAX_IN_FLIGHT, Publisher
from gateway.replies import Reason, Rejected
from shared import message, metrics
from shared.seal import Sealer
from tests.gateway.test_publish import KEY, FakeBroker, turns, value

MOST, MOST_BYTES, MOST_WAITING, MOST_WAITING_BYTES = 4, 9, 12, 30

steps = st.lists(
    st.one_of(
        st.lists(st.integers(1, 4), min_size=1, max_size=4),  # submit pageviews of so many bytes
        st.sampled_from(["confirm", "confirm", "fail", "turn", "turn", "lose broker"]),
        st.integers(0, 50),  # one goes away
    ),
    max_size=40,
)


def pageview(number: int, size: int) -> bytes:
    """Return a packed binary of so many bytes and two of its head, which says its number."""
    return b"\xc4" + bytes([size]) + bytes([number]) * size


@given(steps)
async def test_each_request_is_in_one_message_in_order_and_told_what_became_of_it(steps: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message, "MAX_PAGEVIEWS", MOST)
        patch.setattr(message, "MAX_BYTES", MOST_BYTES)
        patch.setattr(publish, "MAX_WAITING", MOST_WAITING)
        patch.setattr(publish, "MAX_WAITING_BYTES", MOST_WAITING_BYTES)
        await _run(steps)


async def _run(steps: list[Any]) -> None:
    queue = FakeBroker()
    publisher = Publisher(cast("BrokerConnection", queue), Sealer([KEY]), lambda: 42)
    submitted: list[tuple[list[bytes], asyncio.Future[None]]] = []
    gone: set[int] = set()
    failed: set[int] = set()

    async def end(fails: bool) -> None:
        pending = [number for number, each in enumerate(queue._confirms) if not each.done()]
        if pending:
            failed.update(pending[:1] if fails else ())
            await queue.confirm(pending[0], PublishUncertain() if fails else None)

    for number, step in enumerate(steps):
        if isinstance(step, list):
            packed = [pageview(number, size) for size in step]
            waiting = publisher._waiting
            sizes = [sum(map(len, each.packed)) for each in waiting]
            is_full = sum(len(each.packed) for each in waiting) >= MOST_WAITING
            fits = not is_full and sum(sizes) + sum(map(len, packed)) <= MOST_WAITING_BYTES
            refused = None
            try:
                submitted.append((packed, publisher.submit(packed)))
            except Rejected as rejected:
                refused = rejected.reason
            assert refused is (None if fits else Reason.BUFFER_FULL)
        elif isinstance(step, int):
            if submitted and not submitted[step % len(submitted)][1].done():
                submitted[step % len(submitted)][1].cancel()
                gone.add(step % len(submitted))
        elif step == "turn":
            await turns()
        elif step == "lose broker":
            queue.unavailable_reason = Reason.BROKER_DOWN
            queue.on_change()
            queue.unavailable_reason = None
        else:
            await end(step == "fail")
        assert len(publisher._in_flight) <= MAX_IN_FLIGHT
    while publisher._waiting or publisher._in_flight:
        await turns()
        await end(False)
    assert (value(metrics.MESSAGES_IN_FLIGHT), value(metrics.PAGEVIEWS_WAITING)) == (0, 0)
    _check(queue, submitted, gone, failed)
    again = publisher.submit([pageview(0, 1)])
    await turns()
    await end(False)
    assert again.exception() is None, "nothing is left that would take up room"


def _check(
    queue: FakeBroker, submitted: list[tuple[list[bytes], asyncio.Future[None]]], gone: set[int], failed: set[int]
) -> None:
    place = 0
    for number, items in enumerate(queue.contents()):
        left = len(items)
        assert left
        requests = 0
        while left:
            packed, done = submitted[place]
            error = None if done.cancelled() else done.exception()
            is_refused = isinstance(error, Rejected) and error.reason is Reason.BROKER_DOWN
            starts = items[len(items) - left : len(items) - left + len(packed)] == [each[2:] for each in packed]
            if is_refused or (place in gone and not starts):  # never sent
                place += 1
                continue
            assert starts, "in order, and whole"
            left -= len(packed)
            requests += 1
            place += 1
            if not done.cancelled():
                expected = Reason.UNKNOWN_FATE if number in failed else None
                assert (error.reason if isinstance(error, Rejected) else error) is expected
        assert requests == 1 or (len(items) <= MOST and sum(len(each) + 2 for each in items) <= MOST_BYTES)
    for index, (_, done) in enumerate(submitted[place:], place):
        assert index in gone or cast("Rejected", done.exception()).reason is Reason.BROKER_DOWN


class FakeTraces:
    """Notes what is traced."""

    def __init__(self) -> None:
        self.current_: Any = None
        self.begun: list[tuple[Any, Any]] = []
        self.ended: list[Any] = []

    def current(self) -> Any:
        return self.current_

    def publishing(self, headers: Any, requests: Any) -> Any:
        self.begun.append((headers, requests))
        return self

    def headers(self) -> dict[str, str]:
        return {"traceparent": "of the span"}

    def end(self, failure: Any) -> None:
        self.ended.append(failure)


async def test_the_span_of_a_message_is_of_its_requests_and_ends_with_its_fate() -> None:
    queue, traces = FakeBroker(), FakeTraces()
    some: Any = traces
    publisher = Publisher(cast("BrokerConnection", queue), Sealer([KEY]), lambda: 42, some)
    for number in range(2):
        traces.current_ = f"request {number}"
        publisher.submit([pageview(number, 1)])
    await turns()
    [(headers, requests)] = traces.begun
    assert (str(headers.batch_id), headers.pageviews) == (queue.messages[0].message_id, 2)
    assert requests == ["request 0", "request 1"]
    assert queue.messages[0].headers["traceparent"] == "of the span"
    assert traces.ended == []
    await queue.confirm(0, PublishUncertain())
    publisher.submit([pageview(0, 1)])
    await turns()
    await queue.confirm(1)
    assert traces.ended == [Reason.UNKNOWN_FATE, None]


async def test_messages_are_measured_once_they_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def sums() -> tuple[float, float]:
        return tuple(  # type: ignore[return-value]
            next(sample.value for sample in next(iter(each.collect())).samples if sample.name.endswith("_sum"))
            for each in (metrics.GROUP_PAGEVIEWS, metrics.CONFIRM_SECONDS)
        )

    monkeypatch.setattr("gateway.publish.time.perf_counter", iter([100.0, 100.25]).__next__)
    queue = FakeBroker()
    publisher = Publisher(cast("BrokerConnection", queue), Sealer([KEY]), lambda: 42)
    before = sums()
    publisher.submit([pageview(0, 1)] * 3)
    await turns()
    await queue.confirm()
    assert [after - then for after, then in zip(sums(), before, strict=True)] == [3, 0.25]

"""Dead letters on their way to a broker that confirms, refuses, is silent or gone; and what each of them says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import AMQPConnectionError, AMQPError, DeliveryError
from pamqp import commands

from shared import dead_letters, metrics, queue
from shared.logs import BATCH_ID
from shared.message import Headers, open_body, read_headers
from shared.outcomes import Outcome
from shared.pageview import unpack
from shared.seal import Opener, Sealer
from tests.worker.dead_letters.test_publisher import KEY, unopenable
from tests.worker.deliveries import FakeDelivery
from worker.dead_letters import publisher as module
from worker.dead_letters.publisher import DeadLetterPublisher
from worker.delivery import NIL, PageviewOutcome, Poison, ProcessedMessage

BATCH = uuid.UUID(int=7)
ACCEPTED_AT = datetime(2026, 5, 27, 23, 59, tzinfo=UTC)
DEAD = PageviewOutcome(0, NIL, NIL, Outcome.DEAD_LETTERED)
REFUSED = DeliveryError(None, commands.Basic.Nack())


class FakeBroker:
    """Takes letters as `fates` say, one after another, and all once these are over."""

    def __init__(self, *fates: BaseException | None) -> None:
        self.fates = list(fates)
        self.letters: list[aio_pika.Message] = []
        self.opened = self.closed = 0
        self.close_fails: BaseException | None = None

    async def channel(self, *, publisher_confirms: bool, on_return_raises: bool) -> Any:
        assert publisher_confirms is True
        assert on_return_raises is True
        self.opened += 1
        return SimpleNamespace(get_exchange=self._exchange, close=self._close)

    async def _exchange(self, name: str, *, ensure: bool) -> Any:
        assert (name, ensure) == (queue.EXCHANGE, False)
        return SimpleNamespace(publish=self._publish)

    async def _publish(self, letter: aio_pika.Message, key: str, *, mandatory: bool, timeout: float) -> None:
        assert (key, mandatory, timeout) == (queue.DEAD, True, 30.0)
        fate = self.fates.pop(0) if self.fates else None
        await asyncio.sleep(0)
        if fate is not None:
            raise fate
        self.letters.append(letter)

    async def _close(self) -> None:
        self.closed += 1
        if self.close_fails is not None:
            raise self.close_fails


class Limiter:
    def __init__(self) -> None:
        self.admitted: list[int] = []

    async def admit(self, pageviews: int = 1) -> None:
        self.admitted.append(pageviews)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, during which a worker says that it is paused."""
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds:
            assert metrics.PAUSED.labels("dead_letters")._value.get() == 1
            slept.append(seconds)
        await real(0)

    monkeypatch.setattr("worker.dead_letters.publisher.asyncio.sleep", sleep)
    return slept


def publisher(broker: Any, limiter: Any = None) -> DeadLetterPublisher:
    used: Any = limiter or Limiter()
    return DeadLetterPublisher(broker, Sealer([KEY]), used)


def poisoned(*positions: int, admitted: bool = False, schema: int = 2) -> ProcessedMessage:
    poison = tuple(Poison(each, (each, "item"), f"reason {each}: why: so", admitted) for each in positions)
    delivery = FakeDelivery(timestamp=ACCEPTED_AT)
    headers = Headers(BATCH, 9, 42, schema=schema)
    return ProcessedMessage(delivery, headers, {}, dict.fromkeys(positions, DEAD), poison, 1)


def places(letters: Sequence[aio_pika.Message]) -> list[Any]:
    return [letter.headers["first_position"] for letter in letters]


async def test_a_pageview_s_letter_can_be_replayed_and_says_why_it_died() -> None:
    broker = FakeBroker()
    before = datetime.now(UTC)
    await publisher(broker).publish([poisoned(3, schema=1)])
    [letter] = broker.letters
    read: Any = letter
    headers = read_headers(read)
    assert headers == Headers(BATCH, 1, 42, first_position=3, repeated=True, schema=1)
    assert unpack(open_body(read, headers, Opener([KEY]))) == ((3, "item"),)
    assert letter.timestamp == ACCEPTED_AT, "its outcome is counted under the day of its message"
    assert letter.headers[dead_letters.REASON] == "reason 3: why: so"
    assert letter.headers[dead_letters.WORKER] == socket.gethostname()
    assert uuid.UUID(str(letter.headers[dead_letters.LETTER_ID])).version == 4
    died_at = str(letter.headers[dead_letters.DIED_AT])
    assert (len(died_at), died_at[10], died_at[-6:]) == (29, "T", "+00:00"), "to the millisecond, in UTC"
    assert abs((datetime.fromisoformat(died_at) - before).total_seconds()) < 60


async def test_a_message_that_can_not_be_opened_dies_as_it_came() -> None:
    broker = FakeBroker()
    message = unopenable(3)
    given = message.delivery
    assert isinstance(given, FakeDelivery)
    given.body, given.content_type, given.type, given.timestamp = b"sealed", "text/x", "a type", ACCEPTED_AT
    given.headers = {"pageviews": 3, "mine": "kept", "large": 2**70, dead_letters.REASON: "an older one"}
    await publisher(broker).publish([message])
    [letter] = broker.letters
    assert (letter.body, letter.message_id, letter.content_type, letter.type) == (b"sealed", "m", "text/x", "a type")
    assert (letter.timestamp, letter.delivery_mode) == (ACCEPTED_AT, aio_pika.DeliveryMode.PERSISTENT)
    assert {name: letter.headers.get(name) for name in ("pageviews", "mine", "large", dead_letters.REASON)} == {
        "pageviews": 3, "mine": "kept", "large": None, dead_letters.REASON: message.poison[0].reason,
    }  # fmt: skip
    given.message_id = None
    await publisher(broker).publish([message])
    assert broker.letters[1].message_id == str(message.key.batch_id)


async def test_a_message_whose_headers_are_sound_and_whose_body_is_not_dies_as_it_came_too() -> None:
    broker = FakeBroker()
    delivery = FakeDelivery(body=b"sealed with another key", timestamp=ACCEPTED_AT)
    poison = (Poison(None, None, "cannot_open: why"),)
    await publisher(broker).publish([ProcessedMessage(delivery, Headers(BATCH, 2, 42), {}, {0: DEAD}, poison, 1)])
    assert [letter.body for letter in broker.letters] == [b"sealed with another key"]


async def test_each_letter_is_admitted_unless_it_was_and_counted_once_it_is_confirmed() -> None:
    def counted(reason: str) -> float:
        return float(metrics.DEAD_LETTERS.labels(reason)._value.get())

    limiter = Limiter()
    before = counted("reason 1"), counted("reason 2")
    message = poisoned(1, 2)
    await publisher(FakeBroker(), limiter).publish([message, poisoned(2, admitted=True), unopenable(5)])
    assert limiter.admitted == [1, 1, 5]
    assert (counted("reason 1"), counted("reason 2")) == (before[0] + 1, before[1] + 2)
    with contextlib.suppress(AMQPConnectionError):
        await publisher(FakeBroker(AMQPConnectionError()), limiter).publish([poisoned(1)])
    assert counted("reason 1") == before[0] + 1


async def test_only_what_was_not_confirmed_is_published_again_on_a_new_channel(
    slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    broker = FakeBroker(None, REFUSED, None, TimeoutError(), REFUSED, None)
    await publisher(broker).publish([poisoned(1, 2, 3, 4)])
    assert places(broker.letters) == [1, 3, 4, 2], "each once"
    assert (broker.opened, broker.closed) == (3, 2)
    assert 0.25 <= slept[0] <= 0.5 <= slept[1] <= 1.0
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1, "told once"
    assert f"is {queue.DEAD_QUEUE} full or missing?" in caplog.text
    assert metrics.PAUSED.labels("dead_letters")._value.get() == 0


async def test_the_pauses_grow_to_ten_seconds(slept: list[float]) -> None:
    await publisher(FakeBroker(*[REFUSED] * 9)).publish([poisoned(1)])
    assert all(low <= each <= 2 * low for low, each in zip([0.25, 0.5, 1, 2, 4, 5, 5, 5, 5], slept, strict=True))


async def test_one_channel_is_used_for_all_letters() -> None:
    broker = FakeBroker()
    publishing = publisher(broker)
    await publishing.publish([poisoned(1)])
    await publishing.publish([poisoned(2), poisoned(3)])
    assert (places(broker.letters), broker.opened, broker.closed) == ([1, 2, 3], 1, 0)


@pytest.mark.parametrize("error", [AMQPConnectionError(), ConnectionError(), RuntimeError("closed")])
async def test_a_lost_connection_ends_it(slept: list[float], error: Exception) -> None:
    broker = FakeBroker(None, error, REFUSED)
    with pytest.raises(type(error)):
        await publisher(broker).publish([poisoned(1, 2, 3)])
    assert slept == []


@pytest.mark.parametrize("error", [AMQPError(), ConnectionError(), OSError(), RuntimeError(), TimeoutError()])
async def test_a_channel_that_can_not_be_closed_is_left(slept: list[float], error: Exception) -> None:
    broker = FakeBroker(REFUSED)
    broker.close_fails = error
    await publisher(broker).publish([poisoned(1)])
    assert (len(broker.letters), len(slept)) == (1, 1)


async def test_nothing_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of opening a channel, and of closing it; a confirm has its timeout in what the client is told."""
    limits: list[float | None] = []
    real = asyncio.timeout

    def noted(seconds: float | None) -> Any:
        limits.append(seconds)
        return real(seconds)

    async def sleep(_: float) -> None:
        return None

    monkeypatch.setattr("worker.dead_letters.publisher.asyncio.timeout", noted)
    broker = FakeBroker(REFUSED)
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.0)
    await publisher(broker).publish([poisoned(1)])
    assert limits == [30.0, 2, 30.0]


async def test_a_reason_is_logged_with_the_message_that_it_is_of(caplog: pytest.LogCaptureFixture) -> None:
    await publisher(FakeBroker()).publish([poisoned(1)])
    [record] = caplog.records
    assert record.getMessage() == "dead letters: reason 1: why: so; see `hitline dead list`"
    assert getattr(record, BATCH_ID) == BATCH


async def test_without_poison_nothing_is_sent() -> None:
    broker = FakeBroker()
    await publisher(broker).publish([poisoned()])
    assert (broker.letters, broker.fates) == ([], [])

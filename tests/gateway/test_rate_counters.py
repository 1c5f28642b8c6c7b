"""Limits that are counted in a storage for all gateways, which may be away, slow, or have lost its connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import limits
import pytest
from redis.exceptions import ConnectionError as ConnectionLost

from gateway import rate_counters
from gateway.rate_counters import LocalCounter, SharedCounter
from gateway.rate_limit import RateLimiter
from gateway.window_storage import WindowStorage
from shared import metrics
from tests.gateway.test_rate_limit import Clock

ITEM = limits.parse("10/minute")


class Storage:
    """Stands for Redis: answers, or fails in turn as `fails` says."""

    def __init__(self) -> None:
        self.fails: list[BaseException | None] = []
        self.asked: list[tuple[Any, ...]] = []
        self.window: tuple[int, float, int, float] = (3, 20.0, 4, 80.0)
        self.disconnected: list[bool] = []

    async def _answer(self, *asked: Any) -> None:
        self.asked.append(asked)
        if self.fails and (error := self.fails.pop(0)) is not None:
            raise error

    async def hit(self, item: limits.RateLimitItem, key: str, *, cost: int) -> bool:
        await self._answer("hit", item, key, cost)
        return cost < 5

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        await self._answer("window", key, expiry)
        return self.window

    async def disconnect(self, *, inuse_connections: bool) -> None:
        self.disconnected.append(inuse_connections)


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def counter(storage: Storage) -> Any:
    made: Any = SharedCounter("redis://127.0.0.1:1")
    made._limiter = made._storage = made._pool = storage
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr("gateway.rate_counters.time", SimpleNamespace(monotonic=fake))
    return fake


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    metrics.RATE_LIMIT_FALLBACK.set(0)


def fallback() -> float:
    return float(metrics.RATE_LIMIT_FALLBACK._value.get())


async def test_the_storage_is_asked_for_this_key_and_cost(counter: Any, storage: Storage) -> None:
    assert await counter.hit(ITEM, "key", 4) is True
    assert await counter.hit(ITEM, "key", 5) is False
    assert await counter.window(ITEM, "key") == (3, 20.0, 4, 80.0)
    assert await counter.charge(ITEM, "other", 2) == (True, (3, 20.0, 4, 80.0))
    assert storage.asked == [
        ("hit", ITEM, "key", 4), ("hit", ITEM, "key", 5), ("window", ITEM.key_for("key"), 60),
        ("hit", ITEM, "other", 2), ("window", ITEM.key_for("other"), 60),
    ]  # fmt: skip


async def test_a_window_that_is_just_over_counts_no_longer(counter: Any, storage: Storage) -> None:
    storage.window = (3, 20.0, 4, 0.0)
    assert await counter.window(ITEM, "key") == (3, 20.0, 0, 0.0)
    storage.window = (3, 20.0, 4, 0.001)
    assert await counter.window(ITEM, "key") == (3, 20.0, 4, 0.001)


async def test_connections_that_died_are_dropped_and_the_question_is_repeated_once(
    counter: Any, storage: Storage
) -> None:
    storage.fails = [ConnectionLost()]
    assert await counter.hit(ITEM, "key", 1) is True
    assert storage.disconnected == [False], "those in use belong to other requests"
    assert fallback() == 0
    storage.fails = [ConnectionLost(), ConnectionLost()]
    await counter.hit(ITEM, "key", 1)
    assert len(storage.asked) == 4
    assert fallback() == 1


async def test_while_it_is_away_each_process_counts_for_itself_and_asks_again_every_five_seconds(
    counter: Any, storage: Storage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    storage.fails = [OSError()] * 2
    assert [await counter.hit(ITEM, "key", 6) for _ in range(2)] == [True, False], "by its own count"
    assert (len(storage.asked), fallback()) == (1, 1)
    assert "storage out of reach (OSError), counting per process" in caplog.text
    clock.now += 4.9
    previous, _, current, _ = await counter.window(ITEM, "key")
    assert previous + current == 6
    assert len(storage.asked) == 1
    clock.now += 0.1
    assert await counter.hit(ITEM, "key", 6) is False
    assert len(storage.asked) == 2, "and fails again"
    assert caplog.text.count("out of reach") == 1, "told once"
    clock.now += 5
    assert await counter.hit(ITEM, "key", 1) is True
    assert (len(storage.asked), fallback()) == (3, 0)
    assert "storage is back" in caplog.text
    await counter.hit(ITEM, "key", 1)
    assert len(storage.asked) == 4, "at once, from then on"


async def test_only_one_request_at_a_time_tries_a_storage_that_was_away(
    counter: Any, storage: Storage, clock: Clock
) -> None:
    storage.fails = [OSError()]
    await counter.hit(ITEM, "key", 1)
    clock.now += 5
    hold = asyncio.Event()

    async def wait(*asked: Any, **more: Any) -> bool:
        storage.asked.append(asked)
        await hold.wait()
        return True

    counter._limiter = SimpleNamespace(hit=wait)
    trial = asyncio.create_task(counter.hit(ITEM, "key", 1))
    await asyncio.sleep(0)
    others = [await counter.hit(ITEM, "key", 1) for _ in range(3)]
    assert (others, len(storage.asked)) == ([True] * 3, 2), "these are counted here"
    hold.set()
    assert await trial is True


async def test_who_waited_for_a_connection_meanwhile_does_not_wait_for_the_storage_too(
    counter: Any, storage: Storage, clock: Clock
) -> None:
    counter._slots = asyncio.Semaphore(1)
    storage.fails = [OSError()]
    await asyncio.gather(*(counter.hit(ITEM, "key", 1) for _ in range(5)))
    assert len(storage.asked) == 1


async def test_a_storage_that_is_slow_is_away(
    counter: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(*_: Any, **__: Any) -> bool:
        await asyncio.sleep(60)
        return True

    assert rate_counters._STORAGE_TIMEOUT_S == 1.0
    monkeypatch.setattr(rate_counters, "_STORAGE_TIMEOUT_S", 0.01)
    counter._limiter = SimpleNamespace(hit=hang)
    began = time.monotonic()
    assert await counter.hit(ITEM, "key", 1) is True
    assert time.monotonic() - began < 30
    assert "TimeoutError" in caplog.text


def test_the_library_is_told_how_long_to_wait_and_how_many_connections_to_open() -> None:
    made: Any = SharedCounter("redis://127.0.0.1:1")
    assert made._pool.max_connections == 64
    assert made._slots._value == 64, "one that needs another waits, where the library would fail"
    options = made._pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (1.0, 1.0)
    assert made._storage.bridge.prefixed_key("key") == "hitline:key"
    assert made._limiter.storage is made._storage


def test_what_the_library_may_ask_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now = Clock()
    now.now = 6_000_030.0
    monkeypatch.setattr(time, "time", now)
    storage = WindowStorage()
    assert storage.check()
    assert (storage.get("key"), storage.get_expiry("key")) == (0, now.now)
    storage.acquire_sliding_window_entry("key", 10, 60, 3)
    storage.acquire_sliding_window_entry("other", 10, 60)
    assert (storage.get("key"), storage.get("other")) == (3, 1)
    assert storage.get_expiry("key") == 6_000_060
    storage.clear("other")
    storage.clear("other")
    assert (storage.get("other"), len(storage)) == (0, 1)
    storage.clear_sliding_window("key", 60)
    storage.clear_sliding_window("key", 60)
    assert len(storage) == 0
    storage.acquire_sliding_window_entry("key", 10, 60)
    assert (storage.reset(), len(storage)) == (1, 0)
    with pytest.raises(NotImplementedError):
        storage.incr("key", 60)


@pytest.mark.parametrize(("later_s", "left"), [(59, 2), (60, 2), (119, 2), (120, 1), (121, 1)])
def test_a_key_is_dropped_once_the_window_after_its_own_is_over(
    monkeypatch: pytest.MonkeyPatch, later_s: int, left: int
) -> None:
    now = Clock()
    now.now = 6_000_000.0
    monkeypatch.setattr(time, "time", now)
    storage = WindowStorage()
    storage.acquire_sliding_window_entry("idle", 10, 60)
    now.now += later_s
    storage.acquire_sliding_window_entry("busy", 10, 60)
    assert len(storage) == left


def test_a_limiter_that_has_a_storage_counts_there_and_one_without_in_its_process() -> None:
    shared: Any = RateLimiter("1/day", "redis://127.0.0.1:7")._counter
    assert type(shared) is SharedCounter
    assert shared._pool.connection_kwargs["port"] == 7
    assert type(RateLimiter("1/day")._counter) is LocalCounter

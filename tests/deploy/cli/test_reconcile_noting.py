"""What `hitline reconcile` counts, where it takes up, and what it notes as verified for the next run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.cli import reconcile as module
from deploy.outcomes.ledger import FIRST, Counted, Period
from shared import queue


class FakeLedger:
    """Stands for `deploy.outcomes.ledger`: what was verified, and what is counted."""

    def __init__(self, counted: Counted, verified_to: datetime) -> None:
        self.counted = counted
        self._verified_to = verified_to
        self.asked: list[tuple[str, Any]] = []
        self.sums: Any = None
        self.fails: Exception | None = None

    async def verified_to(self, clickhouse: Any) -> datetime:
        self.asked.append(("verified_to", clickhouse))
        return self._verified_to

    async def count(self, clickhouse: Any, period: Period, now: datetime, *, again: bool) -> tuple[Counted, Any]:
        """Count as `deploy.outcomes.verified` does."""
        assert abs((datetime.now(UTC) - now).total_seconds()) < 60
        self.asked.append(("count again" if again else "count", (clickhouse, period)))
        return self.counted, self.sums

    async def note_sums(self, clickhouse: Any, sums: Any) -> None:
        self.asked.append(("note sums", (clickhouse, sums)))

    async def note(self, clickhouse: Any, period: Period, counted: Counted, began: datetime) -> None:
        assert abs((datetime.now(UTC) - began).total_seconds()) < 60
        self.asked.append(("note", (clickhouse, period, counted)))
        if self.fails is not None:
            raise self.fails


VERIFIED = datetime(2026, 5, 1, tzinfo=UTC)
PERIOD = Period(FIRST, datetime(2026, 6, 1, tzinfo=UTC), "site", "client")


async def figures(
    monkeypatch: pytest.MonkeyPatch, ledger: FakeLedger, waiting: int = 0, *, goes_on: bool = False, last: Any = None,
    recount: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return the figures of a period, with so many messages in the queue."""

    @asynccontextmanager
    async def connected(url: str) -> AsyncIterator[Any]:
        yield f"connected to {url}"

    async def depths(urls: Any) -> dict[str, int]:
        assert urls == ("amqp",)
        return {queue.QUEUE: waiting, queue.DEAD_QUEUE: 9}

    settings = SimpleNamespace(amqp_url=("amqp",), clickhouse_url="http")
    monkeypatch.setattr("deploy.cli.reconcile.verified", SimpleNamespace(count=ledger.count, note=ledger.note_sums))
    monkeypatch.setattr("deploy.cli.reconcile.ledger", ledger)
    monkeypatch.setattr("deploy.cli.reconcile.load_settings", lambda: settings)
    monkeypatch.setattr("deploy.cli.reconcile.connected", connected)
    monkeypatch.setattr("deploy.queue.depths.depths", depths)
    period = replace(PERIOD, last=last) if last else PERIOD
    return await module._figures(period, goes_on=goes_on, recount=recount)


def counted(stored: int, pageviews: int) -> Counted:
    return Counted(stored=stored, dead_lettered=2, dropped={"dnt": 3}, pageviews=pageviews)


async def test_the_figures_are_those_of_the_period(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = FakeLedger(counted(7, 6), VERIFIED)
    assert await figures(monkeypatch, ledger) == {
        "from": FIRST, "to": PERIOD.last, "stored": 7, "dead_lettered": 2, "dropped": {"dnt": 3}, "pageviews": 6,
        "queues": {queue.QUEUE: 0, queue.DEAD_QUEUE: 9},
    }  # fmt: skip
    assert ledger.asked == [
        ("count", ("connected to http", PERIOD)),
        ("note", ("connected to http", PERIOD, ledger.counted)),
    ]


@pytest.mark.parametrize("last", [PERIOD.last, VERIFIED - timedelta(days=1)])
async def test_it_takes_up_where_the_last_run_ended(monkeypatch: pytest.MonkeyPatch, last: datetime) -> None:
    ledger = FakeLedger(counted(7, 7), VERIFIED)
    told = await figures(monkeypatch, ledger, goes_on=True, last=last)
    first = min(VERIFIED, last)
    assert (told["from"], told["to"]) == (first, last)
    assert ledger.asked[:2] == [
        ("verified_to", "connected to http"),
        ("count", ("connected to http", replace(PERIOD, first=first, last=last))),
    ]


@pytest.mark.parametrize(
    ("stored", "pageviews", "waiting", "noted"), [(7, 7, 0, True), (8, 7, 0, True), (6, 7, 0, False), (7, 7, 1, False)]
)
async def test_only_what_is_in_order_and_settled_is_noted_as_verified(
    monkeypatch: pytest.MonkeyPatch, stored: int, pageviews: int, waiting: int, noted: bool
) -> None:
    ledger = FakeLedger(counted(stored, pageviews), VERIFIED)
    await figures(monkeypatch, ledger, waiting)
    assert ("note" in dict(ledger.asked)) is noted


async def test_figures_that_can_not_be_noted_are_right_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = FakeLedger(counted(7, 7), VERIFIED)
    ledger.fails = PermissionError()
    assert (await figures(monkeypatch, ledger))["stored"] == 7
    assert "it is not noted how far this has been verified: PermissionError; see deploy/schema/access" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("recount", "counts"), [(False, "count"), (True, "count again")])
async def test_sums_for_the_next_run_are_noted_and_counted_again_when_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, recount: bool, counts: str
) -> None:
    ledger = FakeLedger(counted(7, 7), VERIFIED)
    ledger.sums = "sums"
    await figures(monkeypatch, ledger, recount=recount)
    assert [name for name, _ in ledger.asked] == [counts, "note", "note sums"]
    assert dict(ledger.asked)["note sums"] == ("connected to http", "sums")

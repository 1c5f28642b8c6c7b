"""Waiting for replayed letters' outcomes while ClickHouse is away; the rest is proven in tests/delivery."""

from __future__ import annotations

import uuid
from datetime import date

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from deploy.local.ports import free_port
from deploy.queue.replays import STILL_QUEUED, ReplayOutcomes
from shared.clickhouse import ClickHouse
from tests import parts
from worker.delivery import MessageKey

LETTER = (MessageKey(uuid.uuid4(), 0, date(2026, 1, 1)), "a letter")


async def test_an_absent_clickhouse_ends_no_replay_and_is_told_once() -> None:
    outcomes, warnings = await wait_at(f"http://127.0.0.1:{free_port()}")
    assert outcomes == [("a letter", STILL_QUEUED)]
    assert [text.partition(":")[0] for text in warnings] == ["ClickHouse does not answer"]


async def test_what_clickhouse_refuses_ends_it(stack: parts.Stack) -> None:
    address = stack.clickhouse.address.replace("//", "//default:wrong@")
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED"):
        await wait_at(address)


async def wait_at(url: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Wait for a letter's outcome at an address; return what was reported and warned of."""
    reported: list[tuple[str, str]] = []
    warnings: list[str] = []
    clickhouse = ClickHouse(url, "hitline tests")
    try:
        outcomes = ReplayOutcomes(clickhouse, 0, 1.2, lambda *each: reported.append(each), warnings.append)
        await outcomes.add([LETTER])
        await outcomes.finish()
    finally:
        await clickhouse.close()
    return reported, warnings

"""What the log says while some of a worker's statements fail and others do not."""

from __future__ import annotations

import logging

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from shared import metrics
from shared.backoff import Backoff
from shared.clickhouse_address import parse_address
from worker.store import retry as module
from worker.store.retry import Retry

#: TABLE_IS_READ_ONLY: look-ups succeed.
REFUSED = DatabaseError("refused")
REFUSED.code, REFUSED.name = 242, "TABLE_IS_READ_ONLY"


async def test_a_lookup_between_two_failed_inserts_is_no_recovery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    retry, backoff = Retry(parse_address("http://user:secret@there:8123")), Backoff(0, 0)
    for _ in range(3):
        await retry.pause(REFUSED, backoff, "the insert")
        retry.succeeded("the look-up")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    retry.succeeded("the insert")
    assert caplog.messages == [
        "ClickHouse at http://there:8123 answers with error 242 (TABLE_IS_READ_ONLY): the table is read-only: is a"
        " replica without Keeper, or table_readonly set?; the insert is repeated until it succeeds",
        "ClickHouse: working again",
    ]


async def test_an_outage_is_told_once_and_its_end_when_everything_works(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    retry, backoff = Retry(parse_address("http://there:8123")), Backoff(0, 0)
    for name in ("the look-up", "the insert", "the look-up"):
        await retry.pause(ConnectionRefusedError(), backoff, name)
    retry.succeeded("the look-up")
    assert len(caplog.messages) == 1
    retry.succeeded("the insert")
    assert caplog.messages[1:] == ["ClickHouse: working again"]


async def test_an_operation_is_repeated_until_it_succeeds_and_each_failure_is_counted_by_its_kind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(module, "_LONGEST_PAUSE_S", 0.0)
    retry, fates = Retry(parse_address("http://there:8123")), [REFUSED, REFUSED, None, ConnectionRefusedError(), None]
    counted = metrics.INSERT_RETRIES.labels("TABLE_IS_READ_ONLY")._value
    before = counted.get()

    async def operation() -> str:
        if fate := fates.pop(0):
            raise fate
        return "done"

    assert await retry.until_done(operation, "the look-up") == "done"
    assert counted.get() == before + 2
    assert [message.rpartition("; ")[2] for message in caplog.messages] == [
        "the look-up is repeated until it succeeds", "ClickHouse: working again",
    ]  # fmt: skip
    assert await retry.until_done(operation, "the look-up") == "done"
    assert len(caplog.messages) == 4, "another outage is told again"
    assert fates == []

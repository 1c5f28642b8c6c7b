"""The table from an error of ClickHouse to what is done about it."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError

from worker.store.errors import POISON_CODES, is_too_large, kind_of, poison_cause


def test_causes_in_a_row_are_a_closed_list() -> None:
    assert sorted(POISON_CODES) == [6, 26, 27, 38, 41, 69, 70, 72, 131, 321, 349, 376, 407, 469, 691]
    for code, name in POISON_CODES.items():
        assert poison_cause(DatabaseError("text", code=code, name="other")) == name


@pytest.mark.parametrize("code", [60, 81, 241, 210, 497, 516, 252, None])
def test_every_other_answer_is_tried_again(code: int | None) -> None:
    assert poison_cause(DatabaseError("text", code=code, name="X")) is None


@pytest.mark.parametrize("error", [OSError(), TimeoutError(), RuntimeError(), ValueError()])
def test_so_is_what_is_no_answer(error: Exception) -> None:
    assert poison_cause(error) is None
    assert not is_too_large(error)


def test_an_insert_is_too_large_for_memory_or_for_a_proxy() -> None:
    assert is_too_large(DatabaseError("text", code=241, name="MEMORY_LIMIT_EXCEEDED"))
    assert is_too_large(DatabaseError("answered with HTTP status 413", code=None, name=None))
    assert not is_too_large(DatabaseError("HTTP status 413", code=60, name="UNKNOWN_TABLE"))
    assert not is_too_large(DatabaseError("HTTP status 502", code=None, name=None))
    assert not is_too_large(DataError("HTTP status 413"))


def test_kinds_are_short_names() -> None:
    assert kind_of(DatabaseError("secret", code=60, name="UNKNOWN_TABLE")) == "UNKNOWN_TABLE"
    assert kind_of(OSError("secret")) == "unreachable"
    assert kind_of(ZeroDivisionError("secret")) == "ZeroDivisionError"

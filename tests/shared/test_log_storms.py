"""A place in the code that logs at every request is bounded, and others are not affected."""

from __future__ import annotations

import logging
import sys

import pytest

from shared import logs
from shared.log_storms import BOUNDED, LINES, StormLimit


def record(line: int, text: str = "request %d failed", number: int = 7) -> logging.LogRecord:
    return logging.LogRecord("gateway", logging.ERROR, "connection.py", line, text, (number,), None)


def test_lines_of_one_place_are_bounded_and_what_is_left_out_is_counted() -> None:
    now = 0.0
    limit = StormLimit(lambda: now)
    written = [limit.filter(record(10)) for _ in range(LINES + 1_234)]
    assert written == [True] * LINES + [False] * 1_234
    now = 61.0
    after = record(10)
    assert limit.filter(after)
    assert after.getMessage() == "request 7 failed (1234 more of these lines were left out)"
    now = 200.0
    calm = record(10)
    assert limit.filter(calm)
    assert calm.getMessage() == "request 7 failed"


def test_other_places_and_other_exceptions_are_counted_by_themselves() -> None:
    limit = StormLimit(lambda: 0.0)
    for _ in range(LINES + 1):
        limit.filter(record(10))
    failed = record(10)
    try:
        raise ValueError
    except ValueError:
        failed.exc_info = sys.exc_info()
    assert limit.filter(record(11))
    assert limit.filter(failed)
    assert not limit.filter(record(10))


def test_lines_that_their_caller_bounds_are_all_written() -> None:
    limit = StormLimit(lambda: 0.0)
    for _ in range(LINES * 2):
        bounded = record(10)
        setattr(bounded, BOUNDED, True)
        assert limit.filter(bounded)


def test_places_are_forgotten_rather_than_kept_without_bound() -> None:
    limit = StormLimit(lambda: 0.0)
    for line in range(5_000):
        assert limit.filter(record(line))
    assert len(limit._seen) <= 1_000


def test_a_process_that_is_set_up_has_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.set_up("json")
        for _ in range(LINES * 5):
            logging.getLogger("gateway").warning("again")
        assert capsys.readouterr().err.count("again") == LINES
    finally:
        root.handlers[:], root.level = before[0], before[1]

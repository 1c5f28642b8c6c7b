"""What a log line shows, and what it never does."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import uuid

import pytest

from shared.logs import JsonFormatter, TextFormatter

ADDRESS = "203.0.113.77"


def failing_record() -> logging.LogRecord:
    """Return a record of an exception whose text quotes input."""
    try:
        raise ValueError(f"bad address {ADDRESS}")
    except ValueError:
        return logging.LogRecord("worker", logging.ERROR, __file__, 1, "step %s failed", ("x",), sys.exc_info())


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_an_exception_shows_its_type_and_not_what_it_says(formatter: logging.Formatter) -> None:
    line = formatter.format(failing_record())
    assert "step x failed" in line
    assert "ValueError" in line
    assert ADDRESS not in line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_it_says_where_an_exception_was_raised(formatter: logging.Formatter) -> None:
    assert re.search(r"test_logs\.py:\d+", formatter.format(failing_record()))


def test_a_line_about_a_message_names_it() -> None:
    record = logging.LogRecord("worker", logging.WARNING, __file__, 1, "dead letters", (), None)
    record.batch_id = uuid.UUID(int=7)
    name = "00000000-0000-0000-0000-000000000007"
    assert json.loads(JsonFormatter().format(record))["batch_id"] == name
    assert TextFormatter().format(record).endswith(f"dead letters [batch {name}]")


def test_json_is_one_object_a_line() -> None:
    record = logging.LogRecord("gateway", logging.INFO, __file__, 1, "two\nlines", (), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    parsed = json.loads(line)
    assert (parsed["level"], parsed["logger"], parsed["message"]) == ("info", "gateway", "two\nlines")
    assert parsed["time"].endswith("Z")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.processes
def test_libraries_that_quote_input_are_silent(log_format: str) -> None:
    code = (
        "import logging; from shared import logs\n"
        f"logs.set_up({log_format!r})\n"
        f"logging.getLogger('aiohttp.server').error('raw request {ADDRESS}')\n"
        f"logging.getLogger('clickhouse_connect.driver.transform').error('column {ADDRESS}')\n"
        "logging.getLogger('gateway').info('started')\n"
    )
    written = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ADDRESS not in written.stderr
    assert "started" in written.stderr
    assert written.stdout == ""

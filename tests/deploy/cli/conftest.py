"""Running the `hitline` command in this process, as a shell would see it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.cli import main
from deploy.cli.apply import DIFFERS
from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts

Hitline = Callable[..., Result]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands set up logging for their process, which here is the tests'."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in list(logging.root.manager.loggerDict)}
    yield
    root.handlers[:], root.level = handlers, level
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(quiet.get(name, logging.NOTSET))


def runner_with(env: dict[str, str]) -> Hitline:
    """Return `hitline(*arguments, expect=exit code, SETTING=value)`, which answers click's result."""

    def run(*arguments: str, expect: int = 0, stdin: str | None = None, **more: str) -> Result:
        # In a thread: a command has its own event loop, and must not touch that of the tests.
        result = parts.in_thread(lambda: CliRunner().invoke(main, list(arguments), env={**env, **more}, input=stdin))
        assert result.exit_code == expect, result.output
        assert "Traceback" not in result.output
        if expect and expect != DIFFERS:
            assert result.stderr.startswith("Error: ")
            assert result.stderr.count("\n") == 1, "an error is one line"
        return result

    return run


@pytest.fixture
def hitline(tables: ClickHouseProcess, tmp_path: Path) -> Hitline:
    """The command with an empty registry at hand, and no broker."""
    return runner_with(parts.make_env(tmp_path / "state", tables))

"""The `hitline` command itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from aio_pika.exceptions import ChannelNotFoundEntity

from deploy.cli import COMMANDS
from deploy.cli.support import as_click_error
from tests import parts
from tests.deploy.cli.conftest import runner_with

_HEAVY = ("clickhouse_connect", "aio_pika", "aiohttp", "pydantic", "worker", "gateway", "chdb")


@pytest.mark.processes
def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom deploy.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {_HEAVY} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("[]\n")
    assert [name for name in COMMANDS if f"  {name} " not in shown] == []


@pytest.mark.processes
def test_an_unknown_command_is_a_usage_error(tmp_path: Path) -> None:
    code = "from deploy.cli import main; main(['frobnicate'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_a_bug_is_one_line_that_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from deploy.cli import site

    def broken(_url: str) -> None:
        raise KeyError("203.0.113.7")

    monkeypatch.setattr(site, "_list", broken)
    output = runner_with(parts.make_env(tmp_path))("site", "list", expect=1).stderr
    assert "KeyError at " in output
    assert "203.0.113.7" not in output


def test_a_user_error_is_not_reported_as_a_bug(tmp_path: Path) -> None:
    env = parts.make_env(tmp_path)
    output = runner_with(env)("dead", "list", expect=1).stderr
    assert "can't be reached" in output
    assert "bug" not in output
    bad = runner_with({**env, "HITLINE_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/?heartbeat=x"})
    assert "bug" not in bad("dead", "list", expect=1).stderr
    away = as_click_error(FileNotFoundError(2, "No such file or directory", "/none/x.html"))
    assert away.message == "/none/x.html can't be read or written: No such file or directory"
    assert "run `hitline migrate`" in as_click_error(ChannelNotFoundEntity("no queue")).message


@pytest.mark.processes
def test_a_closed_pipe_ends_it_quietly() -> None:
    code = "from deploy.cli import main, LazyGroup, click\nclick.Group.invoke = lambda *_: (_ for _ in ()).throw(BrokenPipeError(32, ''))\nmain(['site'])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")

"""`make run` as a user sees it: the whole stack, started and stopped."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.broker import ensure_rabbitmq
from deploy.local.demo import hitline_command
from deploy.local.environment import read_env
from deploy.local.failure import SetupError
from deploy.local.ports import free_port
from deploy.local.run import refuse_foreign
from deploy.local.services import Service, ServiceError
from tests import parts
from tests.services import START_S, wait_for

pytestmark = pytest.mark.processes

PORTS = ("HITLINE_HTTP_PORT", "HITLINE_ADMIN_PORT", "HITLINE_WORKER_ADMIN_PORT", "HITLINE_CLICKHOUSE_PORT")
PARTS = ("gateway", "worker", "clickhouse", "geo", "rabbitmq", "rabbitmq/epmd")


def environment(directory: Path, **settings: str) -> dict[str, str]:
    """The caller's without settings; free ports."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HITLINE_")}
    # Named, so that no database is fetched; the worker does without.
    chosen = {**dict.fromkeys(PORTS, "0"), "HITLINE_GEO_CITY_DB": str(directory / "none.mmdb"), **settings}
    return inherited | chosen


class Launcher:
    """One `make run` on a directory and free ports of its own."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self._log = (directory.with_name(f"{directory.name}.out")).open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.run", str(directory)],
            env=environment(directory, **settings),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def output(self) -> str:
        return Path(self._log.name).read_text()

    def wait_for(self, text: str, timeout_s: float = START_S) -> str:
        deadline = time.monotonic() + timeout_s
        while text not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)
        return self.output()

    def leftovers(self) -> list[int]:
        return [pid for part in PARTS for pid in processes.pids_of(f"{self.directory.resolve()}/{part}")] + (
            processes.pids_of(str(self.directory.resolve() / "rabbitmq"))
        )

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(90)
        self._log.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    ensure_rabbitmq()
    return tmp_path / "local"


@pytest.fixture
def launcher(directory: Path) -> Iterator[Launcher]:
    launcher = Launcher(directory)
    yield launcher
    launcher.end()


def ask(port: str, method: str, path: str, body: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def printed_pageview(output: str) -> tuple[dict[str, str], str]:
    """Headers and body of the printed curl, the timestamp as the shell would fill it in."""
    token = re.search(r"Authorization: Bearer (\S+)'", output)
    body = re.search(r"-d '(.*)'$", output, re.MULTILINE)
    assert token
    assert body
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"Authorization": f"Bearer {token[1]}"}, body[1].replace("'\"$(date -u +%FT%TZ)\"'", now)


def wait_for_row(command: str) -> str:
    """Run the printed command until it shows a row; it takes the password from the file `env`."""
    for _ in range(100):
        shown = subprocess.run(["/bin/sh", "-euc", command], capture_output=True, text=True, check=True, env={}).stdout
        if shown:
            return shown
        time.sleep(0.1)
    raise AssertionError("no row within 10 s")


def test_what_it_prints_works_and_a_part_that_dies_ends_the_others(launcher: Launcher, directory: Path) -> None:
    output = launcher.wait_for("Ctrl-C stops everything")
    env = read_env(directory / "env")
    check_what_it_prints(output, env)

    second = Launcher(directory)
    assert second.process.wait(START_S) == 2
    assert "make run is already running here" in second.output()
    second.end()
    check_that_a_part_that_dies_is_reported_and_ends_the_others(launcher)

    again = Launcher(directory)
    again.wait_for("starting RabbitMQ and ClickHouse")
    again.process.send_signal(signal.SIGINT)
    assert again.process.wait(START_S) == 0
    assert again.leftovers() == []
    assert_kept(directory, env)
    again.end()


def assert_kept(directory: Path, env: dict[str, str]) -> None:
    """Another start has the passwords and keys of the first; ports may be others."""
    kept = read_env(directory / "env")
    assert {name: kept[name] for name in kept if "PORT" not in name and "URL" not in name} == {
        name: env[name] for name in env if "PORT" not in name and "URL" not in name
    }


@pytest.mark.full  # otherwise while it starts, above
def test_a_signal_stops_all_of_it_and_it_starts_again(launcher: Launcher, directory: Path) -> None:
    launcher.wait_for("Ctrl-C stops everything")
    env = read_env(directory / "env")
    launcher.process.send_signal(signal.SIGINT)
    assert launcher.process.wait(START_S) == 0
    assert launcher.leftovers() == []

    again = Launcher(directory)
    try:
        again.wait_for("Ctrl-C stops everything")
        assert_kept(directory, env)
        check_that_a_part_that_dies_is_reported_and_ends_the_others(again)
    finally:
        again.end()


def check_what_it_prints(output: str, env: dict[str, str]) -> None:
    headers, body = printed_pageview(output)
    assert ask(env["HITLINE_HTTP_PORT"], "POST", "/api/ingest/server/pageview", body, headers) == (202, "")
    query = re.search(r"^  (\. .*? FORMAT Vertical')$", output, re.DOTALL | re.MULTILINE)
    assert query
    row = dict(line.split(":", 1) for line in wait_for_row(query[1]).splitlines()[2:])
    assert [row[name].strip() for name in ("hostname", "path", "utm_source")] == ["example.com", "/hello", "readme"]
    commands = re.search(r"commands:  (.*)", output)
    assert commands
    shown = subprocess.run(["/bin/sh", "-euc", commands[1]], capture_output=True, text=True, check=True, env={}).stdout
    assert "Usage: hitline" in shown
    assert env["CLICKHOUSE_PASSWORD"] not in output
    assert ask(env["HITLINE_CLICKHOUSE_PORT"], "POST", "/", "SELECT 1", {})[0] == 403


def check_that_a_part_that_dies_is_reported_and_ends_the_others(launcher: Launcher) -> None:
    worker = processes.pids_of(f"{launcher.directory.resolve()}/worker")

    os.kill(worker[0], signal.SIGKILL)

    assert launcher.process.wait(START_S) == 1
    assert "worker died unexpectedly" in launcher.output()
    assert launcher.leftovers() == []


def keep_a_log(directory: Path) -> None:
    log = directory / "logs" / "gateway.log"
    log.parent.mkdir(parents=True)
    log.write_text("a line of an earlier start\n")


@pytest.mark.full
def test_a_part_that_can_not_start_says_only_why(directory: Path) -> None:
    keep_a_log(directory)
    launcher = Launcher(directory, HITLINE_RATE_LIMIT="x")

    assert launcher.process.wait(START_S) == 1
    assert "HITLINE_RATE_LIMIT: must be a rate" in launcher.output()
    assert "earlier start" not in launcher.output()
    launcher.end()


def test_a_gateway_that_can_not_start_says_only_why(tmp_path: Path) -> None:
    keep_a_log(tmp_path)
    gateway = Service("gateway", hitline_command("gateway"), tmp_path, (free_port(), "/readyz"))
    gateway.spawn({**os.environ, **parts.make_env(tmp_path, RATE_LIMIT="x")})

    with pytest.raises(ServiceError, match="HITLINE_RATE_LIMIT: must be a rate") as caught:
        gateway.wait_until_ready()

    assert "earlier start" not in str(caught.value)
    gateway.stop(1)


def test_files_that_sudo_make_run_left_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "with space").mkdir()
    (tmp_path / "with space" / "env").touch()

    refuse_foreign(tmp_path / "with space", os.geteuid())
    with pytest.raises(SetupError, match=r"belongs to another user .* `sudo chown -R .* '.*/with space'`"):
        refuse_foreign(tmp_path / "with space", os.geteuid() + 1)


@pytest.mark.full
def test_a_reader_that_goes_away_stops_it_in_order(directory: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local.run", str(directory)],
        env=environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert "starting RabbitMQ" in process.stdout.readline()
    process.stdout.close()

    _, errors = process.communicate(timeout=120)
    assert "Broken pipe" in errors
    assert "Traceback" not in errors
    assert "stopped" in (directory / "logs" / "gateway.log").read_text()


@pytest.mark.full
def test_nothing_outlives_a_killed_launcher_for_long(launcher: Launcher) -> None:
    launcher.wait_for("Ctrl-C stops everything")

    launcher.process.kill()
    launcher.process.wait()

    wait_for(lambda: launcher.leftovers() == [], 45)


def test_a_taken_port_is_named_before_anything_starts(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        launcher = Launcher(directory, HITLINE_HTTP_PORT=str(port))
        assert launcher.process.wait(30) == 2
    assert launcher.output().strip() == f"hitline: port {port} is taken: set HITLINE_HTTP_PORT to another"
    launcher.end()

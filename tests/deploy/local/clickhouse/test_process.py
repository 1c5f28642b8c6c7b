"""The process: readiness, ports, signals, crashes, and what it leaves on disk."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests.deploy.local.clickhouse.conftest import Http

Start = Callable[..., ClickHouseProcess]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.local.clickhouse", *arguments],
        env={**os.environ, "CLICKHOUSE_PASSWORD": "for tests"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_what_was_acknowledged_survives_kill_9(start: Start) -> None:
    process = start()
    http = Http(process)
    http("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1")
    acknowledged = []

    def insert(worker: int) -> None:
        for n in range(1000):
            number = worker * 1000 + n
            if not http(f"{number}\n", query="INSERT INTO t FORMAT TSV", async_insert=0).ok:
                return
            acknowledged.append(number)

    with ThreadPoolExecutor(3) as threads:
        jobs = [threads.submit(insert, n) for n in range(3)]
        while len(acknowledged) < 60:
            time.sleep(0.01)
        process.kill()
        for job in jobs:
            job.exception()
    port = process.port
    process.restart()
    assert process.port == port
    stored = {int(line) for line in http("SELECT a FROM t").text.split()}
    assert set(acknowledged) <= stored


def until_it_runs(http: Http, query_id: str) -> None:
    end = time.monotonic() + 60
    while int(http(f"SELECT count() FROM system.processes WHERE query_id = '{query_id}'").text) != 1:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_sigterm_finishes_what_runs(start: Start) -> None:
    process = start()
    http = Http(process)
    http("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    with ThreadPoolExecutor(1) as threads:
        job = threads.submit(http, "INSERT INTO t SELECT number + sleep(2) FROM numbers(5)", query_id="runs")
        until_it_runs(http, "runs")
        assert process.stop() == 0
        assert job.result().ok
    assert Http(process.start())("SELECT count() FROM t").text == "5\n"


def test_sigint_ends_it_cleanly(start: Start) -> None:
    process = start()
    os.kill(process.pid, signal.SIGINT)
    assert process.stop() == 0
    assert process.stop() == 0


def test_sigterm_does_not_wait_for_ever(start: Start) -> None:
    process = start(arguments=("--drain-seconds", "0.5"))
    with ThreadPoolExecutor(1) as threads:
        http = Http(process)
        threads.submit(http, "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)", query_id="runs")
        until_it_runs(http, "runs")
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 30


@pytest.mark.processes
def test_a_taken_port_is_one_line_with_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("--path", str(tmp_path), "--port", port, "--port-setting", "HITLINE_CLICKHOUSE_PORT")
    assert ended.returncode == 2
    # The last one: the engine has lines of its own on a machine without cgroups.
    assert ended.stderr.splitlines()[-1] == f"port {port} is taken: set HITLINE_CLICKHOUSE_PORT"


def test_a_directory_in_use_is_one_line(start: Start) -> None:
    process = start()
    ended = run("--path", str(process.path), "--port", "0")
    assert ended.returncode == 2
    assert "in use by another process" in ended.stderr.splitlines()[-1]
    assert Http(process)("SELECT 1").text == "1\n"


@pytest.mark.processes
def test_only_loopback(tmp_path: Path) -> None:
    ended = run("--path", str(tmp_path), "--port", "0", "--host", "0.0.0.0")
    assert ended.returncode == 2
    assert "this machine only" in ended.stderr


@pytest.mark.processes
def test_a_failed_start_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RuntimeError, match="is taken"):
        ClickHouseProcess(tmp_path, port=taken.getsockname()[1]).start()


def test_a_malformed_request_is_not_repeated_on_stderr(start: Start) -> None:
    process = start()
    for request in (b"GET /secret-path HTTP/x\r\n\r\n", b"secret\r\n\r\n", b"POST / HTTP/1.1\r\nsecret\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", process.port)) as connection:
            connection.sendall(request)
            assert b" 400 " in connection.recv(1000)
    assert Http(process)("SELECT 1").text == "1\n"
    process.stop()
    assert "secret" not in process.last_lines(1000)


@pytest.mark.processes
def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import pathlib, os, sys; from deploy.local.clickhouse.process import ClickHouseProcess;"
        "print(ClickHouseProcess(pathlib.Path(sys.argv[1])).start().pid, flush=True); os.kill(os.getpid(), 9)"
    )
    parent = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    child = Path("/proc") / parent.stdout.strip()
    end = time.monotonic() + 60
    while child.exists() and "zombie" not in (child / "status").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_no_core_dump(start: Start) -> None:
    limits = Path(f"/proc/{start().pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]


def test_data_lie_only_in_their_table_and_nothing_is_logged(start: Start, tmp_path: Path) -> None:
    process = start()
    http = Http(process)
    secret = "visitor-198.51.100.7"
    http("CREATE TABLE t (a UInt64, h UInt64 MATERIALIZED 0) ENGINE = MergeTree ORDER BY tuple()")
    http(f"INSERT INTO t SELECT length(a) FROM input('a String') FORMAT TSV\n{secret}\n")
    http(f"INSERT INTO t VALUES (length('{secret}'))")
    http(f"INSERT INTO t FORMAT TSV\n{secret}\n")  # fails to parse
    assert http("SELECT count() FROM t").text == "2\n"
    assert (
        http("SELECT count() FROM system.tables WHERE database = 'system' AND engine LIKE '%MergeTree'").text == "0\n"
    )
    process.stop()
    assert secret not in process.last_lines(10_000)
    for file in process.path.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file

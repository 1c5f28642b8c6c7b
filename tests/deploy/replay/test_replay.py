"""`hitline replay` against a whole system: each kept line is one row, through interruptions and rotation."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests import access_log, parts, services
from tests.deploy.replay import logs
from tests.services import System

_ROOT = Path(__file__).parents[3]


def environment(system: System, directory: Path) -> dict[str, str]:
    return {
        **system.env, "HITLINE_URL": f"http://127.0.0.1:{system.port}", "HITLINE_TOKEN": system.token,
        "HITLINE_STATE_DIR": str(directory),
    }  # fmt: skip


def start(system: System, directory: Path, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from deploy.cli import main; main()", "replay", *arguments]
    return subprocess.Popen(
        command, env=environment(system, directory), cwd=_ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **streams,
    )  # fmt: skip


def replay(
    system: System, directory: Path, *arguments: str, expect: int = 0, stdin: bytes | None = None
) -> dict[str, Any]:
    """Run the command to its end and return its table."""
    command = [sys.executable, "-c", "from deploy.cli import main; main()", "replay", "--json", *arguments]
    done = subprocess.run(
        command, env=environment(system, directory), cwd=_ROOT, capture_output=True, timeout=300, input=stdin
    )
    assert done.returncode == expect, done.stderr.decode()
    return {**json.loads(done.stdout), "stderr": done.stderr.decode()}


@pytest.fixture
def empty(system: System) -> System:
    parts.empty_tables_of_pageviews(system.clickhouse)
    return system


def stored(system: System) -> Counter[tuple[str, str]]:
    sql = (
        "SELECT path, formatDateTime(timestamp, '%Y-%m-%d %H:%i:%S', 'UTC') AS second, count() AS number"
        " FROM hitline.pageviews GROUP BY path, second"
    )
    return Counter({(row["path"], row["second"]): int(row["number"]) for row in services.rows(system.clickhouse, sql)})


def wait_for_rows(system: System, expected: Counter[tuple[str, str]]) -> None:
    """Wait until all that was accepted has come to an end, and compare with `expected`."""
    services.wait_for(lambda: services.count(system.clickhouse) >= expected.total(), 60)
    assert stored(system) == expected


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_text("".join(line + end for line in lines))
    return path


def test_a_log_is_replayed_twice_and_interrupted_once_and_each_page_is_one_row(empty: System, tmp_path: Path) -> None:
    lines = access_log.lines(2_000)[:2_000]
    expected = logs.pages(lines)
    log = write(tmp_path / "access.log", lines)
    state = tmp_path / "state"
    arguments = ("--site-url", "https://example.com", str(log))

    first = start(empty, state, "--batch", "50", "--in-flight", "1", *arguments)
    services.wait_for(lambda: services.count(empty.clickhouse) > 100)
    first.kill()  # no chance to save anything
    first.wait()
    second = replay(empty, state, *arguments)
    again = replay(empty, state, *arguments)
    from_start = replay(empty, state, "--from-start", *arguments)
    compressed = tmp_path / "access.log.1.gz"
    compressed.write_bytes(gzip.compress(log.read_bytes()))
    renamed = replay(empty, state, "--site-url", "https://example.com", str(compressed))

    assert second["accepted"] <= expected.total()
    assert again["lines"] == renamed["lines"] == 0
    assert f"goes on after line {len(lines):,}" in renamed["stderr"]
    assert (from_start["lines"], from_start["accepted"]) == (len(lines), expected.total())
    wait_for_rows(empty, expected)
    assert empty.wait_for_outcomes(0)["stored"] >= 2 * expected.total()
    visits = int(parts.execute(empty.clickhouse, "SELECT uniqExact(session_id) FROM hitline.pageviews"))
    assert 0 < visits < expected.total()


def test_ctrl_c_ends_in_good_order_and_the_parts_add_up(empty: System, tmp_path: Path) -> None:
    lines = logs.lines(2500)
    log = write(tmp_path / "access.log", lines)
    arguments = ("--batch", "2", "--in-flight", "1", "--json", "--site-url", "https://example.com", str(log))
    process = start(empty, tmp_path / "state", *arguments)
    services.wait_for(lambda: services.count(empty.clickhouse) > 20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the same command goes on from here" in err
    before = json.loads(out)

    after = replay(empty, tmp_path / "state", *arguments)

    assert 0 < before["lines"] < len(lines)
    assert before["lines"] + after["lines"] == len(lines)
    assert before["accepted"] + after["accepted"] == logs.pages(lines).total()
    wait_for_rows(empty, logs.pages(lines))


def test_standard_input_is_the_same_log_as_the_file(empty: System, tmp_path: Path) -> None:
    lines = logs.lines(400)
    expected = logs.pages(lines)
    log = write(tmp_path / "access.log", lines, end="\r\n")
    compressed = zstandard.compress(log.read_bytes())
    piped = replay(empty, tmp_path / "state", "--site-url", "example.com", "-", stdin=compressed)
    assert (piped["lines"], piped["accepted"]) == (400, expected.total())
    of_file = replay(empty, tmp_path / "state", "--site-url", "example.com", str(log))
    assert (of_file["lines"], of_file["accepted"]) == (400, expected.total())
    wait_for_rows(empty, expected)


def test_a_damaged_archive_gives_what_is_in_it_and_says_so(empty: System, tmp_path: Path) -> None:
    lines = logs.lines(3000)
    log = tmp_path / "access.log.gz"
    log.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode())[:-5000])
    found = replay(empty, tmp_path / "state", "--site-url", "https://example.com", str(log), expect=1)
    assert 0 < found["lines"] < 3000
    assert "the gzip data end early, after line" in found["problems"][0]


def test_every_line_is_in_the_table_and_nothing_is_shown_raw(empty: System, tmp_path: Path) -> None:
    base = '198.51.100.7 - - [05/Mar/2026:10:20:30 +0000] "{}" {} 5 "-" "Mozilla/5.0 Firefox/1"'
    log = write(
        tmp_path / "access.log",
        [
            base.format("GET /page HTTP/1.1", 200),
            base.format("GET http://other.example/ HTTP/1.1", 200),
            base.format("POST /page HTTP/1.1", 200),
            base.format("GET /x.css HTTP/1.1", 200),
            base.format("GET /admin/x HTTP/1.1", 200),
            base.format("GET /gone HTTP/1.1", 404),
            base.format(r"\x16\x03\x01", 400),
            "\x1b[31m\x07evil 198.51.100.9 2001:db8::9",
            "",
        ],
    )
    found = replay(empty, tmp_path / "s", "--site-url", "https://example.com", "--exclude", "path=/admin/*", str(log))
    table = {
        (each["fate"], "404" if each["reason"].startswith("404 url: ") else each["reason"]): each["lines"]
        for each in found["reasons"]
    }
    assert table == {
        ("accepted", ""): 1,
        ("refused by the gateway", "404"): 1,
        ("left out", "method POST"): 1,
        ("left out", "static file"): 1,
        ("left out", "--exclude path=/admin/*"): 1,
        ("left out", "status 404"): 1,
        ("malformed", "not an HTTP request"): 1,
        ("malformed", "not in common or combined log format"): 1,
        ("no request", "empty lines"): 1,
    }
    assert found["lines"] == 9
    shown = subprocess.run(
        [sys.executable, "-c", "from deploy.cli import main; main()", "replay", "-n", "--from-start", "--site-url",
         "example.com", str(log)],
        env=environment(empty, tmp_path / "s"), cwd=_ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert shown.returncode == 0
    for text in (shown.stdout, shown.stderr):
        assert "\x1b" not in text
        assert "198.51.100" not in text
        assert "2001:db8::9" not in text
    assert r"access.log:8: \x1b[31m\x07evil (address) (address)" in shown.stdout
    assert "would be sent" in shown.stdout


def test_a_log_of_no_known_format_stops_before_anything_is_sent(empty: System, tmp_path: Path) -> None:
    good = write(tmp_path / "a.log", logs.lines(50))
    bad = write(tmp_path / "b.log", ["nothing", "of interest \x1b[2J"])
    process = start(empty, tmp_path / "state", "--site-url", "https://example.com", str(good), str(bad))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "no known format reads any of its first 2 lines" in err
    assert out == ""


class Writer:
    """Writes a log in pieces, as a server does, without regard for line ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("ab", buffering=0)

    def write(self, lines: list[str], pieces: int = 7) -> None:
        data = "".join(line + "\n" for line in lines).encode()
        size = len(data) // pieces + 1
        for at in range(0, len(data), size):
            self.file.write(data[at : at + size])
            time.sleep(0.005)

    def rename(self, name: str) -> None:
        self.path.rename(self.path.with_name(name))

    def reopen(self) -> None:
        self.file.close()
        self.file = self.path.open("ab", buffering=0)


def tail_through_rotations(system: System, tmp_path: Path, number: int, kill: bool) -> None:
    """Write `number` lines while the log is followed: renamed twice, truncated once, the follower killed once."""
    lines = logs.lines(number, seed=3)
    part = number // 5
    parts_of_log = [lines[at : at + part] for at in range(0, number, part)]
    path = tmp_path / "access.log"
    writer = Writer(path)
    arguments = ("--follow", "--json", "--site-url", "https://example.com", str(path))
    follower = start(system, tmp_path / "state", *arguments)
    expected: Counter[tuple[str, str]] = Counter()

    def caught_up() -> bool:
        return services.count(system.clickhouse) == expected.total()

    for index, some in enumerate(parts_of_log):
        middle = len(some) // 2
        writer.write(some[:middle])
        if index in (1, 3):
            writer.rename(f"access.log.{index}")  # the server goes on writing to the old file until it is told
        writer.write(some[middle:])
        expected += logs.pages(some)
        if index in (1, 3):
            writer.reopen()
        if index in (0, 2):
            services.wait_for(caught_up, 120)
        if index == 2:
            (tmp_path / "access.log.copy").write_bytes(path.read_bytes())
            os.truncate(path, 0)
        if index == 1 and kill:
            follower.kill()
            follower.wait()
            follower = start(system, tmp_path / "state", *arguments)
    services.wait_for(caught_up, 300)
    follower.send_signal(signal.SIGTERM)
    out, err = follower.communicate(timeout=120)
    assert follower.returncode == 0, err
    assert stored(system) == expected
    if not kill:
        assert json.loads(out)["lines"] == number


def test_a_live_log_is_followed_through_rotation(empty: System, tmp_path: Path) -> None:
    tail_through_rotations(empty, tmp_path, 2_000, kill=False)


@pytest.mark.full
def test_a_live_log_of_a_hundred_thousand_lines_with_a_kill_in_between(empty: System, tmp_path: Path) -> None:
    tail_through_rotations(empty, tmp_path, 100_000, kill=True)

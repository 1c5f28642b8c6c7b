"""Logs stay small while their processes go on writing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from deploy.local import log_files
from deploy.local.services import Service


def test_a_large_log_is_moved_aside_and_a_small_one_is_not(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert not log_files.rotate(log, 10)
    with log.open("ab", buffering=0) as writer:
        writer.write(b"short\n")
        assert not log_files.rotate(log, 10)
        writer.write(b"longer than that\n")
        assert log_files.rotate(log, 10)
        writer.write(b"new\n")  # the process still has the file open
    assert log.read_text() == "new\n"
    assert (tmp_path / "x.log.1").read_text() == "short\nlonger than that\n"
    assert log_files.rotate(log, 1)
    assert (tmp_path / "x.log.1").read_text() == "new\n"


@pytest.mark.processes
def test_a_services_log_is_bounded_and_its_last_lines_are_still_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files.rotate, "__defaults__", (100_000,))
    script = "import sys, time\nwhile True: print('x' * 999, flush=True); time.sleep(0.0005)"
    service = Service("talker", [sys.executable, "-c", script], tmp_path, None)
    service.spawn({})
    try:
        largest = 0
        rotated = tmp_path / "logs" / "talker.log.1"
        deadline = time.monotonic() + 20
        while not (rotated.exists() and largest > 100_000 and "x" in service.last_lines):
            assert time.monotonic() < deadline
            service.rotate_log()
            largest = max(largest, service.log_file.stat().st_size, rotated.stat().st_size if rotated.exists() else 0)
        assert largest < 10_000_000
        assert service.running
    finally:
        service.stop(2)

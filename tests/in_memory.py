"""`make test` keeps the files of brokers and engines in memory, where there is enough: they create and sync thousands.

Single files and the long proofs run on the disk, as installations do, and what they leave stays for a while, as pytest
has it.  A run in memory leaves its files only when a test failed, until the next run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from tests.session import available_mib

#: A file system in memory, on Linux; containers may have a small one.
_PLACE = Path("/dev/shm")
_NAME = f"hitline-tests-{os.getuid()}-"
#: Several times what the short tests need together.
_MIB = 1_500
_STARTED = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before pytest has chosen a directory; the test processes of a run get theirs below its own."""
    is_part = hasattr(config, "workerinput")
    if is_part or config.option.basetemp or "not full" not in config.option.markexpr or not _has_room(_PLACE):
        return
    remove_left(_PLACE)
    config.stash[_STARTED] = _PLACE / f"{_NAME}{os.getpid()}"
    config.option.basetemp = config.stash[_STARTED]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    directory = session.config.stash.get(_STARTED, None)
    if directory and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(directory, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    directory = config.stash.get(_STARTED, None)
    if directory and directory.exists() and terminalreporter.stats.get("failed"):
        terminalreporter.write_line(f"until the next run, {directory} has the files of these tests")


def _has_room(place: Path) -> bool:
    with contextlib.suppress(OSError):
        free_mib = shutil.disk_usage(place).free >> 20
        return os.access(place, os.W_OK) and min(free_mib, available_mib() // 3) >= _MIB
    return False


def remove_left(place: Path) -> None:
    """Remove the files of this user's runs that have ended."""
    for left in place.glob(f"{_NAME}*"):
        if not Path("/proc", left.name.removeprefix(_NAME)).exists():
            shutil.rmtree(left, ignore_errors=True)

"""How a whole run of the suite behaves: how many run side by side, and that a skipped test is seen."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

import pytest

from tests import rabbitmq_root

#: What the parts of one test process take at most: itself, a broker, a ClickHouse, a gateway and three workers.
_MIB_EACH = 1_600
#: Parts wait more than they compute, so that one more than there are cores keeps all of them busy.
_MOST = 6
_VERSION = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail when a test was skipped")


def pytest_configure(config: pytest.Config) -> None:
    if root := os.environ.get(rabbitmq_root.VARIABLE):
        directory = Path(tempfile.gettempdir(), f"hitline-rabbitmq-{os.getuid()}")
        config.stash[_VERSION] = rabbitmq_root.put_on_path(Path(root).resolve(), directory)


def pytest_report_header(config: pytest.Config) -> str | None:
    version = config.stash.get(_VERSION, None)
    return f"brokers are RabbitMQ {version} of {os.environ[rabbitmq_root.VARIABLE]}" if version else None


def pytest_xdist_auto_num_workers() -> int:
    """Return how many test processes `-n auto` starts; each has its own broker and ClickHouse."""
    return max(1, min(len(os.sched_getaffinity(0)) + 1, _MOST, available_mib() // _MIB_EACH))


def available_mib() -> int:
    """Return the memory that is left here: of the machine, or of the container where that is less."""
    left = [int(re.findall(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text())[0]) >> 10]
    with contextlib.suppress(OSError, ValueError):  # no such limit
        limit, used = (int(Path("/sys/fs/cgroup", name).read_text()) for name in ("memory.max", "memory.current"))
        left.append((limit - used) >> 20)
    return min(left)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--no-skips") and _skipped(session.config) and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--no-skips") and (skipped := _skipped(config)):
        terminalreporter.write_line(f"--no-skips: {skipped} tests were skipped, see above for what they need")


def _skipped(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", ())) if reporter else 0

"""`make test-quick`: the tests that start no process.

A test carries the mark `processes` when it uses a fixture that starts one, or says so itself; a test without the mark
that starts a process fails, so that the quick suite stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

#: Fixtures that start a process; fixtures that use them count as well.
STARTERS = {"clickhouse", "broker", "server", "start"}

_EVENTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
_unmarked: str | None = None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if STARTERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("processes")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _unmarked
    _unmarked = None if item.get_closest_marker("processes") else item.nodeid
    try:
        return (yield)
    finally:
        _unmarked = None


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if _unmarked and event in _EVENTS:
        raise RuntimeError(f"{_unmarked} starts a process ({arguments[:1]}): mark it with @pytest.mark.processes")


def pytest_configure() -> None:
    sys.addaudithook(_refuse)

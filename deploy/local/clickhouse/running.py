"""The running queries, by the ids that their clients gave them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.processes_view import tag

_LOOK_EVERY_S = 0.005


@dataclass(eq=False)
class Entry:
    """A query from its arrival to its answer. `unseen`: system.processes never shows it with its tag."""

    tag: str
    unseen: bool = False


class Running:
    """All entries, including queued ones; an id can run only once at a time."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()

    @contextmanager
    def entered(self, user: str, query_id: str) -> Iterator[Entry]:
        """Register an id; raises ClickHouseError 216 while another query has it."""
        entry = Entry(tag(user, query_id))
        with self._lock:
            if query_id in self._entries:
                raise ClickHouseError(216, f"Query with id = {query_id} is already running.")
            self._entries[query_id] = entry
        try:
            yield entry
        finally:
            with self._lock:
                del self._entries[query_id]

    def settle(self, visible: Callable[[], set[str]], timeout_s: float) -> None:
        """Wait until every query that has arrived is visible in the engine or has ended.

        Otherwise, reading system.processes could miss an insert that waits for a thread and runs a moment later.
        Raises ClickHouseError 202 when it takes too long.
        """
        with self._lock:
            waiting = {entry for entry in self._entries.values() if not entry.unseen}
        end = time.monotonic() + timeout_s
        while waiting:
            seen = visible()
            with self._lock:
                here = set(self._entries.values())
            waiting = {entry for entry in waiting & here if not entry.unseen and entry.tag not in seen}
            if waiting and time.monotonic() > end:
                raise ClickHouseError(202, f"Too many simultaneous queries: {len(waiting)} are still waiting to start")
            if waiting:
                time.sleep(_LOOK_EVERY_S)

    def __len__(self) -> int:
        return len(self._entries)

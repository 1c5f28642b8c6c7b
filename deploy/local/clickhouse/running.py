"""The queries under way, by the ids their clients gave them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local.clickhouse.errors import ClickHouseError


class Running:
    """Ids from a request's arrival to its answer, queued ones too; one id runs once at a time."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def entered(self, query_id: str) -> Iterator[None]:
        """Hold an id; raises ClickHouseError 216 while another query has it."""
        with self._lock:
            if query_id in self._ids:
                raise ClickHouseError(216, f"Query with id = {query_id} is already running.")
            self._ids.add(query_id)
        try:
            yield
        finally:
            with self._lock:
                self._ids.discard(query_id)

    def __len__(self) -> int:
        return len(self._ids)

"""Look-ups in a replica's file that share one read transaction for as long as a turn of the event loop lasts.

A transaction costs a third of a look-up: its locks are system calls.  None outlives the turn, so that the writer's log
can always be emptied, and all look-ups of a turn see the same state of the registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from shared.registry.replica_file import open_replica

#: More than any registry.  Pages are read where the system keeps them, which takes half as long as copying each; they
#: are counted as memory of the process, and are the system's to take back.
_MAPPED_BYTES: Final = 1 << 30


class Reader:
    """The connection of the thread with the event loop; where no loop runs, each look-up has its own transaction."""

    def __init__(self, path: Path) -> None:
        """Open the file, or replace it if it is damaged; raises `sqlite3.Error`, `OSError`."""
        self._connection = open_replica(path)
        self._connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
        self._sharing = False

    def find(self, sql: str, parameters: Sequence[Any]) -> Any:
        """Return the first row of a query, as it was when this turn's first look-up was made; None if there is none."""
        if not self._sharing:
            self._share()
        return self._connection.execute(sql, parameters).fetchone()

    def newest(self, sql: str) -> Any:
        """Return the first row of a query as it is now."""
        self.end()
        return self._connection.execute(sql).fetchone()

    def _share(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._connection.execute("BEGIN")
        self._sharing = True
        loop.call_soon(self.end)

    def end(self) -> None:
        """End the transaction, if there is one: what is looked up next is as it is then."""
        if self._sharing:
            self._sharing = False
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self.end()
        self._connection.close()

"""HTTP sessions: connections kept between requests, with their temporary tables and settings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from deploy.local.clickhouse.engine import Connection
from deploy.local.clickhouse.errors import ClickHouseError


@dataclass
class _Session:
    connection: Connection
    timeout_s: float
    last_used_s: float = field(default_factory=time.monotonic)
    locked: bool = True


class Sessions:
    """Sessions by user and id; each runs one request at a time and is closed after its timeout."""

    def __init__(self, connect: Callable[[], Connection]):
        self._connect = connect
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._lock = threading.Lock()

    @contextmanager
    def entered(self, key: tuple[str, str], timeout_s: float, must_exist: bool) -> Iterator[tuple[Connection, bool]]:
        """Lock a session; return its connection, and whether it is new.

        Raises ClickHouseError 373 when another request has it, 372 when it must exist and does not.
        """
        session, is_new = self._take(key, must_exist)
        try:
            yield session.connection, is_new
        except ClickHouseError:
            if is_new:
                session.timeout_s = 0.0  # it may be only partly set up
            else:
                session.timeout_s = timeout_s
            raise
        else:
            session.timeout_s = timeout_s
        finally:
            session.last_used_s = time.monotonic()
            session.locked = False
            self.close_idle()

    def _take(self, key: tuple[str, str], must_exist: bool) -> tuple[_Session, bool]:
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                if must_exist:
                    raise ClickHouseError(372, f"Session {key[1]} not found")
                session = self._sessions[key] = _Session(self._connect(), 0.0)
                return session, True
            if session.locked:
                raise ClickHouseError(373, f"Session {key[1]} is locked by a concurrent client")
            session.locked = True
            return session, False

    def close_idle(self, everything: bool = False) -> None:
        """Close sessions that have been idle for longer than their timeout."""
        now = time.monotonic()
        with self._lock:
            over = [
                key
                for key, session in self._sessions.items()
                if not session.locked and (everything or now - session.last_used_s >= session.timeout_s)
            ]
            ended = [self._sessions.pop(key) for key in over]
        for session in ended:
            session.connection.close()

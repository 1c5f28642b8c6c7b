"""Ids that a second run makes again: sessions, and pageviews within them.

All are keyed (BLAKE2b with a key of this installation): an unkeyed hash of a visitor's address could be searched over
all of IPv4.  They depend on the log's lines and their order, and on nothing else: not on filters, file names,
compression, or where a run was interrupted.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

#: A visitor who does nothing for longer begins a new session.
SESSION_GAP_MS: Final = 30 * 60 * 1000
#: Lines come in the order in which requests ended; a visitor further behind the newest line is forgotten.
_FORGET_MS: Final = 4 * SESSION_GAP_MS
#: Equal lines have equal times, and are this close to each other in the log.
_EQUAL_LINES_MS: Final = 2 * 60 * 1000
_TIDY_EVERY: Final = 4096


class Ids(NamedTuple):
    """Of one pageview, as the gateway takes them."""

    session_id: str
    page_id: str


class IdMaker:
    """Follows visitors through a log; `snapshot` and `restore` carry it over an interruption."""

    def __init__(self, key: bytes, source: str = "", *, by_clock: bool = False) -> None:
        """`source` distinguishes logs in which equal lines are different requests: those of several servers.

        `by_clock`: a session is a visitor's half hour (12:00 to 12:30), which no line before can change.
        """
        self._by_clock = by_clock
        self._key = key
        self._source = source.encode()
        self._sessions: dict[bytes, tuple[int, int]] = {}  # visitor: (session's first moment, visitor's last)
        self._seen: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # line: (its moment, how often)
        self._newest_ms = 0
        self._until_tidy = _TIDY_EVERY

    def begin_log(self) -> None:
        """Begin another log, whose lines may be older than those so far."""
        self._tidy()
        self._newest_ms = 0

    def session(self, address: str, user_agent: str, time_ms: int) -> str:
        """Note a visitor's request, whether it is a pageview or not, and return the session it belongs to."""
        visitor = self._hash(b"visitor", f"{address} {user_agent}".encode())
        self._newest_ms = max(self._newest_ms, time_ms)
        if self._by_clock:
            return self._session_id(visitor, time_ms - time_ms % SESSION_GAP_MS)
        start, last = self._sessions.get(visitor, (0, 0))
        known = last >= self._newest_ms - _FORGET_MS and start - SESSION_GAP_MS <= time_ms <= last + SESSION_GAP_MS
        if not known:
            start = last = time_ms
        self._sessions[visitor] = (start, max(last, time_ms))
        self._until_tidy -= 1
        if not self._until_tidy:
            self._tidy()
        return self._session_id(visitor, start)

    def _session_id(self, visitor: bytes, start_ms: int) -> str:
        return _uuid(self._hash(b"session", visitor, start_ms.to_bytes(8, "big")))

    def page(self, line: bytes, time_ms: int) -> str:
        """Return the id of a line's pageview; an equal line is the next pageview, not the same."""
        digest = self._hash(b"line", line)
        moment, times = self._seen.get(digest, (0, 0))
        if moment < self._newest_ms - _EQUAL_LINES_MS:
            times = 0
        self._seen[digest] = (time_ms, times + 1)
        return _uuid(self._hash(b"page", self._source, digest, times.to_bytes(4, "big")))

    def snapshot(self) -> dict[str, Any]:
        """Return what `restore` needs; there is nothing of a visitor in it that was not hashed with the key."""
        self._tidy()
        return {
            "newest_ms": self._newest_ms,
            "sessions": {visitor.hex(): moments for visitor, moments in self._sessions.items()},
            "seen": {line.hex(): counted for line, counted in self._seen.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        self._newest_ms = snapshot["newest_ms"]
        self._sessions = {bytes.fromhex(name): (start, last) for name, (start, last) in snapshot["sessions"].items()}
        self._seen = OrderedDict((bytes.fromhex(name), (ms, times)) for name, (ms, times) in snapshot["seen"].items())

    def _tidy(self) -> None:
        """Forget what `session` and `page` would not look at any more: when this happens changes no id."""
        self._until_tidy = _TIDY_EVERY
        oldest = self._newest_ms - _FORGET_MS
        self._sessions = {visitor: moments for visitor, moments in self._sessions.items() if moments[1] >= oldest}
        oldest = self._newest_ms - _EQUAL_LINES_MS
        self._seen = OrderedDict((line, counted) for line, counted in self._seen.items() if counted[0] >= oldest)

    def _hash(self, kind: bytes, *parts: bytes) -> bytes:
        # Each part is preceded by its length, so that no two lists of parts look the same.
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.blake2b(text, digest_size=16, key=self._key, person=kind).digest()


def _uuid(raw: bytes) -> str:
    """Return 16 bytes as a UUID of version 8 (RFC 9562: made by a custom rule)."""
    return str(uuid.UUID(bytes=raw[:6] + bytes((raw[6] & 0x0F | 0x80, raw[7], raw[8] & 0x3F | 0x80)) + raw[9:]))

"""Clients that do not read what they are answered."""

from __future__ import annotations

import asyncio
from typing import Final

#: Seconds within which a client must have read something of what was sent to it.
WRITE_SECONDS: Final = 30.0


class Unread:
    """Tells, by looking now and then, whether a client has stopped reading."""

    __slots__ = ("_answers_then", "_since", "answers")

    def __init__(self) -> None:
        #: Answers that were sent whole.
        self.answers = 0
        self._answers_then = 0
        self._since: float | None = None

    def is_given_up(self, transport: asyncio.WriteTransport, now: float) -> bool:
        """Return whether bytes have waited for `WRITE_SECONDS` with no answer finished meanwhile."""
        if not transport.get_write_buffer_size():
            self._since = None
        elif self._since is None or self.answers != self._answers_then:
            self._since, self._answers_then = now, self.answers
        else:
            return now - self._since > WRITE_SECONDS
        return False

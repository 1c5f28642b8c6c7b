"""The salts under which visitors are hashed for derived sessions: one for each UTC day, the same for all workers.

This is what the steps ask; `worker.consume.salt_keeper` keeps it filled.  See docs/decisions/derived-sessions.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

DAY_MS: Final = 86_400_000
#: Days whose salts are made ahead: pageviews may be dated 24 hours ahead, and tomorrow's salt is to be old by then.
AHEAD: Final = 2
#: Days after a day's end for which its salt is kept.
KEPT: Final = 2

#: Bits of a visitor's id that are zero: the view `pageviews` puts into them when in the day a session begins.
_ZERO: Final = (1 << 28) - 1


class SaltNotReady(Exception):
    """The salt of a day is about to be made or can't be fetched: ask again soon."""


class Salts:
    """The salts that are known; days are numbered from 1970-01-01."""

    def __init__(self) -> None:
        self._by_day: Mapping[int, bytes] = {}
        self._today: int | None = None
        #: Called when a salt is asked for that is not ready.
        self.on_missing: Callable[[], None] = lambda: None

    def replace(self, by_day: Mapping[int, bytes], today: int) -> None:
        """Take over what there is on day `today`; days that are over and have none will never have one."""
        self._by_day, self._today = by_day, today

    def forget(self, before: int) -> None:
        """Forget the salts of the days before that one."""
        self._by_day = {day: salt for day, salt in self._by_day.items() if day >= before}

    @property
    def ready(self) -> bool:
        """Whether the salts of today and of the days ahead are there."""
        return self._today is not None and all(day in self._by_day for day in self._expected(self._today))

    @staticmethod
    def _expected(today: int) -> range:
        return range(today, today + AHEAD + 1)

    def of(self, day: int) -> bytes | None:
        """Return a day's salt, None if it has none (any more); raises `SaltNotReady`."""
        salt = self._by_day.get(day)
        if salt is None and (self._today is None or day in self._expected(self._today)):
            self.on_missing()
            raise SaltNotReady
        return salt


def visitor_id(salt: bytes, site_id: bytes, address: str, user_agent: str) -> bytes:
    """Return 16 bytes that tell a site's visitors of one day apart, as a UUID of version 8 (RFC 9562).

    HMAC-SHA-256 of site, address and user agent under the day's salt, cut to 94 bits.
    """
    text = b"%b%b\0%b" % (
        site_id,
        address.encode("utf-8", "surrogatepass"),
        user_agent.encode("utf-8", "surrogatepass"),
    )
    number = int.from_bytes(hmac.digest(salt, text, hashlib.sha256)[:16]) & ~_ZERO
    number = number & ~(0xF << 76) | 8 << 76
    return (number & ~(3 << 62) | 2 << 62).to_bytes(16)

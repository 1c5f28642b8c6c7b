"""Bounds on what strangers may hold: connections, and bytes that were received and belong to no handled request yet.

Nothing here needs a token, so each bound is also shared among addresses: an address that fills its share is refused,
and everybody else is still served.
"""

from __future__ import annotations

import logging
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from gateway.lane import Lane
from gateway.memory_budget import MemoryBudget
from gateway.pace import Pace
from shared import metrics
from shared.process import memory_limit

log = logging.getLogger(__name__)

#: What an idle connection takes, kernel buffers included, and the part of the memory that connections may have.
_CONNECTION_BYTES: Final = 32 * 1024
_PART_OF_MEMORY: Final = 4
_MOST: Final = 20_000
#: File descriptors in addition to those of clients: broker, ClickHouse, registry, the private port and its callers.
_OTHER_FILES: Final = 256
#: One address may have this part of all connections.
_PART_OF_ADDRESS: Final = 1 / 4
#: An address of this host may have more: a proxy beside the gateway, or a load test.
_PART_OF_LOOPBACK: Final = 3 / 4
_LOOPBACK: Final = ("127.", "::/64")  # as `network_of` writes them
#: Received bytes that are not handled yet, of all connections, beyond what each may have anyway.
_UNHANDLED_BYTES: Final = 32 * 1024 * 1024
#: How fast what one address sends in vain (bodies of refused requests) is read and dropped, and what at once.
_DROPPED_BYTES_PER_S: Final = 32 * 1024 * 1024
_DROPPED_AT_ONCE: Final = 512 * 1024
#: Least time between two lines of log about connections that were turned away.
_LOG_PAUSE_S: Final = 60.0


def default_most(memory: int | None = None) -> int:
    """Return how many connections memory and the system's limit on open files bear."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    by_memory = (memory or memory_limit()) // _PART_OF_MEMORY // _CONNECTION_BYTES
    by_files = _MOST if files == resource.RLIM_INFINITY else files - _OTHER_FILES
    return max(16, min(_MOST, by_memory, by_files))


class ConnectionLimits:
    """Counts connections, in all and by address; 0 picks a bound that suits this machine."""

    def __init__(
        self, most: int = 0, most_of_address: int = 0, exempt: Callable[[str], bool] = lambda _: False
    ) -> None:
        """`exempt` returns whether an address may open as many as there are: a trusted proxy."""
        self._most = most or default_most()
        self._most_of_address = most_of_address or max(16, int(self._most * _PART_OF_ADDRESS))
        self._most_of_loopback = most_of_address or max(16, int(self._most * _PART_OF_LOOPBACK))
        self._exempt = exempt
        self._of_address: Counter[str] = Counter()
        self._logged = -_LOG_PAUSE_S
        self.open = 0
        self.unhandled = MemoryBudget(_UNHANDLED_BYTES)
        self.lane = Lane()
        self.dropped = Pace(_DROPPED_BYTES_PER_S, _DROPPED_AT_ONCE)

    @property
    def files(self) -> int:
        """File descriptors that the process needs for them and for itself."""
        return self._most + _OTHER_FILES

    def admit(self, address: str) -> bool:
        """Count a new connection; returns False for one too many, which is not counted."""
        if self.open >= self._most:
            self._turned_away("all", self._most)
            return False
        most = self._most_of_loopback if address.startswith(_LOOPBACK) else self._most_of_address
        if self._of_address[address] >= most and not self._exempt(address):
            self._turned_away("address", most)
            return False
        self.open += 1
        self._of_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection's end."""
        self.open -= 1
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def _turned_away(self, bound: str, most: int) -> None:
        metrics.CONNECTIONS_REFUSED.labels(bound).inc()
        if time.monotonic() - self._logged < _LOG_PAUSE_S:
            return
        self._logged = time.monotonic()
        whose = "HITLINE_MAX_CONNECTIONS" if bound == "all" else "HITLINE_MAX_CONNECTIONS_PER_ADDRESS"
        log.warning("connections: %d are open, more are turned away with 503; see %s", most, whose)

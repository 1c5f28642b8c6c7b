"""Whether the gateway's copy of the registry is new enough to decide by it.

After a long rest a token that was revoked meanwhile would still be valid, and a new one would be answered 401, which
tells clients not to repeat.  So an old copy waits for the next poll; while ClickHouse is away, it is used up to an age
that operators set.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from enum import Enum
from typing import Final, Protocol

log = logging.getLogger(__name__)

#: A copy of this age is used without waiting for a poll: far more than a poll takes, and than a restart.
FRESH_SECONDS: Final = 300.0
#: How long a gateway's first request after a rest waits for the poll that ends the rest.
_REST_ENDS_S: Final = 1.0


class Polled(Protocol):
    """The part of `shared.registry.poll.Poller` that is used here."""

    @property
    def age_s(self) -> float:
        """Seconds since the last successful poll."""

    @property
    def failing(self) -> bool:
        """Whether the last poll failed."""

    def used(self) -> bool:
        """Note that a request is decided; returns whether the process was idle, and a poll is due first."""

    async def refresh(self) -> bool:
        """Poll at once."""


class _State(Enum):
    """What can be done with the copy; the text is logged, at the level, when it becomes so."""

    FRESH = (logging.INFO, "registry: the copy is up to date again")
    OLD = (logging.WARNING, "registry: deciding by a copy of %d s ago while ClickHouse is unreachable")
    WAITING = (logging.WARNING, "registry: the copy is %d s old; answering 503 until it has been compared")
    TOO_OLD = (
        logging.ERROR,
        "registry: the copy is %d s old, more than HITLINE_REGISTRY_MAX_AGE_SECONDS; answering 503 until ClickHouse is"
        " reachable",
    )


class RegistryAge:
    """Tells whether requests can be decided by the copy of the registry, and logs when that changes."""

    def __init__(self, polled: Polled, max_age_s: float) -> None:
        """Without ClickHouse a copy is used until it is `max_age_s` old; 0: however old it is."""
        self._polled = polled
        self._max_age_s = max_age_s
        self._state = _State.FRESH

    def rested(self) -> bool:
        """Note that a request is decided; returns whether none has come for long: idle gateways poll less often."""
        return self._polled.used()

    async def refresh(self) -> None:
        """Wait for a poll, a moment at most, before the first request after a rest is decided."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REST_ENDS_S):
                await self._polled.refresh()

    @property
    def too_old(self) -> bool:
        """Whether requests must be answered 503 for now."""
        age_s = self._polled.age_s
        state = self._state_at(age_s)
        if state is not self._state:
            self._state = state
            level, text = state.value
            log.log(level, text, *([age_s] if "%d" in text else []))
        return state in (_State.WAITING, _State.TOO_OLD)

    def _state_at(self, age_s: float) -> _State:
        if age_s == float("inf") or age_s <= FRESH_SECONDS:  # without any copy, `Replica.empty` decides
            return _State.FRESH
        if not self._polled.failing:
            return _State.WAITING
        return _State.OLD if not self._max_age_s or age_s <= self._max_age_s else _State.TOO_OLD

"""Messages that a newer gateway published, and that this worker can't read: kept for a newer worker.

While workers and gateways of two versions run side by side, such messages are neither lost nor dead letters.  They are
held unacknowledged for a while, so that the messages behind them are delivered, and then go back to the head of the
queue, where any worker may take them.  A worker whose prefetch they fill takes nothing else until then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from aio_pika.abc import AbstractIncomingMessage

from shared import metrics

log = logging.getLogger(__name__)

#: Long, since the queue's delivery limit (a million) counts each return; and far below the broker's consumer timeout.
HOLD_S: Final = 30.0


class NewerMessages:
    """The messages of one channel that are held for a newer worker.

    `on_return` is called with the delivery tag of each message that goes back to the queue.
    """

    def __init__(
        self,
        on_return: Callable[[int | None], None],
        hold_s: float = HOLD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_return = on_return
        self._hold_s = hold_s
        self._clock = clock
        self._held: list[AbstractIncomingMessage] = []
        self._return_at = 0.0
        self._logged = False

    def hold(self, message: AbstractIncomingMessage, reason: str) -> None:
        """Hold a message; all that are held go back when the first has been held long enough."""
        if not self._held:
            self._return_at = self._clock() + self._hold_s
            metrics.PAUSED.labels("newer_schema").set(1)
        if not self._logged:
            self._logged = True
            log.error("messages of a newer version wait for newer workers (%s); upgrade this worker", reason)
        self._held.append(message)

    @property
    def due_in_s(self) -> float | None:
        """Seconds until `return_due` has something to do; None if nothing is held."""
        return max(0.0, self._return_at - self._clock()) if self._held else None

    async def return_due(self) -> int:
        """Return to the queue what has been held long enough; returns how many messages that were."""
        if not self._held or self._clock() < self._return_at:
            return 0
        held, self._held = self._held, []
        metrics.PAUSED.labels("newer_schema").set(0)
        for message in held:
            await message.nack(requeue=True)
            # Not before: an acknowledgement of everything up to a later tag must not include it.
            self._on_return(message.delivery_tag)
        return len(held)

    def forget(self) -> None:
        """Forget what is held: its channel is closing, and the broker delivers it again."""
        self._held.clear()
        metrics.PAUSED.labels("newer_schema").set(0)

"""What a running gateway or worker sees of the broker's policies and clock: HITLINE_RABBITMQ_API_URL.

Over AMQP a client sees no policy.  One that deletes what was accepted makes a 202 a false promise: the log says so, the
metric `hitline_queue_unsafe` is 1, and gateways answer 503 until it is gone.  Workers go on: what they take is safe.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from shared import metrics
from shared.clocks import Clocks
from shared.management_api import ManagementApi, Unanswered
from shared.queue import DEAD_QUEUE, QUEUE, vhost_of
from shared.queue_policies import problems

log = logging.getLogger(__name__)

_LOOK_S: Final = 5.0


class BrokerWatch:
    """Looks at both queues every five seconds; without an address it sees nothing, and says so once."""

    def __init__(self, api_url: str, amqp_url: str, clocks: Clocks) -> None:
        self._api_url = api_url
        self._vhost = vhost_of(amqp_url)
        self._clocks = clocks
        self._told: dict[str, str] = {}
        self._unanswered = False
        #: Whether accepted pageviews may be deleted, by the last answer; False as long as there was none.
        self.unsafe = False

    async def run(self) -> None:
        """Look until cancelled."""
        if not self._api_url:
            log.info("policies of the broker are not seen: HITLINE_RABBITMQ_API_URL is not set")
            await asyncio.Event().wait()
        async with ManagementApi(self._api_url) as api:
            while True:
                await self.look(api)
                await asyncio.sleep(_LOOK_S)

    async def look(self, api: ManagementApi) -> None:
        """Look once; while the API does not answer, what was seen last counts."""
        try:
            for name in (QUEUE, DEAD_QUEUE):
                await self._look_at(api, name)
        except Unanswered as error:
            if not self._unanswered:
                log.warning("policies of the broker can't be seen: no management API (%s)", error)
            self._unanswered = True
            return
        self._unanswered = False
        if api.clock_s is not None:
            self._clocks.saw("broker", api.clock_s)

    async def _look_at(self, api: ManagementApi, name: str) -> None:
        state = await api.queue(self._vhost, name)
        found = problems(name, state) if state is not None else []
        unsafe = any(problem.loses for problem in found)
        metrics.QUEUE_UNSAFE.labels(name).set(int(unsafe))
        if name == QUEUE:
            self.unsafe = unsafe
        told = "; ".join(f"{problem.text} ({problem.cure})" for problem in found)
        if told == self._told.get(name, ""):
            return
        self._told[name] = told
        if told:
            log.error("broker: %s", told)
        else:
            log.info("broker: policies of %s are all right again", name)

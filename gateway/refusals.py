"""Refused pageviews made visible: a metric, a log line, and counts that workers write to `outcomes`.

Shippers ignore the body of a response, so a field that is wrong in every pageview would go unnoticed otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final, NamedTuple

from gateway.broker import BrokerConnection, NotPublished, PublishUncertain
from gateway.replies import Reason
from gateway.validate import PageviewRequest
from shared import message, metrics, refusals
from shared.log_storms import BOUNDED
from shared.pageview import join
from shared.refusals import Refusal
from shared.registry import Client
from shared.seal import Sealer

log = logging.getLogger(__name__)

#: What a message may name in addition to a pageview's fields.
_FIELDS: Final = frozenset(PageviewRequest.model_fields) | {"body", "item", "Content-Encoding", "Idempotency-Key"}
#: Bounds of what is kept between two flushes, and of the metric: more clients than these share one name.
_MAX_COUNTS: Final = 5_000
_MAX_RULES: Final = 1_000
_MAX_CLIENTS: Final = 200
_OTHER: Final = "other"


class _Rule(NamedTuple):
    client: str
    reason: Reason
    text: str


class Refusals:
    """Counts refused pageviews by client, reason and field."""

    def __init__(
        self, broker: BrokerConnection, sealer: Sealer, registry_version: Callable[[], int], interval_s: float
    ) -> None:
        self._broker = broker
        self._sealer = sealer
        self._registry_version = registry_version
        self._interval_s = interval_s
        self._counts = Counter[Refusal]()
        self._rules = Counter[_Rule]()
        self._clients: set[str] = set()

    def count(self, client: Client, reason: Reason, text: str, pageviews: int) -> None:
        """Count refused pageviews; `text` is the message that their sender got."""
        name = self._name(client)
        metrics.REFUSED.labels(name, reason.label).inc(pageviews)
        minute = int(time.time()) // 60 * 60
        field = text.partition(": ")[0]
        refusal = Refusal(minute, client.client_id, reason.label, field if field in _FIELDS else "")
        if refusal in self._counts or len(self._counts) < _MAX_COUNTS:
            self._counts[refusal] += pageviews
        # Of several wrong fields the first, so that there are not as many rules as combinations.
        rule = _Rule(name, reason, text.partition("; ")[0] if reason is Reason.INVALID else text)
        if rule not in self._rules and len(self._rules) >= _MAX_RULES:
            rule = _Rule(_OTHER, reason, reason.text)
        self._rules[rule] += pageviews

    async def run(self) -> None:
        """Log and publish the counts now and then, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.flush()

    async def flush(self) -> None:
        """Log and publish what was counted; what certainly was not published is kept for the next time."""
        rules, self._rules = self._rules, Counter()
        for rule, pageviews in rules.most_common():
            log.warning(
                "client %s: %d pageviews refused (%d): %s", rule.client, pageviews, rule.reason.status, rule.text,
                extra={BOUNDED: True},
            )  # fmt: skip
        counts = list(self._counts.items())
        for start in range(0, len(counts), refusals.MAX_IN_MESSAGE):
            if not await self._publish(dict(islice(counts, start, start + refusals.MAX_IN_MESSAGE))):
                return

    async def _publish(self, counts: Mapping[Refusal, int]) -> bool:
        headers = message.Headers(uuid.uuid4(), 0, self._registry_version())
        more = {refusals.HEADER: refusals.write(counts)}
        try:
            await self._broker.publish(message.build(headers, join([]), self._sealer, more))
        except NotPublished:
            return False
        except PublishUncertain:  # at most once: these counts are not part of the ledger
            log.debug("counts of refused pageviews may be lost")
        for refusal, pageviews in counts.items():  # what was counted meanwhile stays
            self._counts[refusal] -= pageviews
            if self._counts[refusal] <= 0:
                del self._counts[refusal]
        return True

    def _name(self, client: Client) -> str:
        if client.name in self._clients or len(self._clients) < _MAX_CLIENTS:
            self._clients.add(client.name)
            return client.name
        return _OTHER

"""Spans of a worker: from a traced message's delivery to its acknowledgement, and of the insert in between.

Imported only where traces are on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.traces import MESSAGING, TRACEPARENT, Traces
from worker.delivery import Delivery, ProcessedMessage

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class _Insert(NamedTuple):
    began_ns: int
    ended_ns: int
    rows: int


class _Message(NamedTuple):
    publisher: Context
    received_ns: int
    inserts: list[_Insert]


class ChannelTraces:
    """The traced messages of one channel that are not acknowledged yet, by delivery tag."""

    def __init__(self, traces: Traces) -> None:
        self._tracer = traces.tracer
        self._messages: dict[int | None, _Message] = {}

    def received(self, delivery: Delivery) -> None:
        """Note a delivery, if its gateway traces it."""
        told = (delivery.headers or {}).get(TRACEPARENT)
        if not isinstance(told, str):
            return
        publisher = _PROPAGATOR.extract({TRACEPARENT: told})
        if trace.get_current_span(publisher).get_span_context().trace_flags.sampled:
            self._messages[delivery.delivery_tag] = _Message(publisher, time.time_ns(), [])

    def inserted(self, messages: Sequence[ProcessedMessage], rows: int, began_ns: int) -> None:
        """Note that an insert with rows of these messages has just ended."""
        done = _Insert(began_ns, time.time_ns(), rows)
        for message in messages:
            if noted := self._messages.get(message.delivery.delivery_tag):
                noted.inserts.append(done)

    def acknowledged(self, messages: Sequence[ProcessedMessage]) -> None:
        """End the spans of messages that have just been acknowledged."""
        if self._messages:
            for message in messages:
                if noted := self._messages.pop(message.delivery.delivery_tag, None):
                    self._record(message, noted)

    def _record(self, message: ProcessedMessage, noted: _Message) -> None:
        outcomes = Counter(each.outcome for each in message.outcomes.values())
        told = {
            **MESSAGING,
            "messaging.operation.type": "process",
            "messaging.message.id": str(message.key.batch_id),
            "hitline.pageviews": outcomes.total(),
            "hitline.redelivered": bool(message.delivery.redelivered),
            **{f"hitline.outcome.{outcome}": number for outcome, number in outcomes.items()},
        }
        kind, began = SpanKind.CONSUMER, noted.received_ns
        span = self._tracer.start_span("process hitline.pageviews", noted.publisher, kind, told, start_time=began)
        inside = trace.set_span_in_context(span)
        for insert in noted.inserts:
            told = {
                "db.system.name": "clickhouse",
                "db.operation.name": "INSERT",
                "db.collection.name": "hitline.pageviews_raw",
                "hitline.rows": insert.rows,
            }
            child = self._tracer.start_span(
                "INSERT hitline.pageviews_raw", inside, SpanKind.CLIENT, told, start_time=insert.began_ns
            )
            child.end(insert.ended_ns)
        span.end()

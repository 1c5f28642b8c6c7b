"""Traces across gateway, queue and worker, by the OpenTelemetry SDK: off by default, and then not even imported.

A request's span is a child of the caller's `traceparent` header (W3C Trace Context).  A message carries the context of
the span that published it in a header of that name, which says nothing about a visitor.  Where spans go, and with which
headers, are the SDK's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, …).  No attribute
holds an address, a URL, a token or anything else that a client sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from shared.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

#: The header of requests and messages.
TRACEPARENT: Final = "traceparent"
#: An export that takes longer has failed; a stop waits for the last one.
_EXPORT_S: Final = 3.0
MESSAGING: Final[Mapping[str, Any]] = {
    "messaging.system": "rabbitmq",
    "messaging.destination.name": "hitline.pageviews",
}


class Traces:
    """A process's tracer; `close` sends what is left."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self.tracer: Tracer = provider.get_tracer("hitline")

    def close(self) -> None:
        """Send the spans that are left, for a few seconds at most; blocks."""
        self._provider.shutdown()


def open_traces(service: str, ratio: float, exporter: SpanExporter | None = None) -> Traces | None:
    """Return the traces of a process (`gateway` or `worker`), None while they are off (`ratio` 0).

    A gateway traces this share of requests, also of those whose caller traces them, so that no client decides how many.
    A worker traces the messages whose gateway did.  Raises `SettingsError` where the SDK is not installed.
    """
    if not ratio:
        return None
    try:
        from opentelemetry.sdk import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import export, sampling
    except ImportError:
        raise SettingsError("HITLINE_TRACES_RATIO: OpenTelemetry is missing; pip install 'hitline[otel]'") from None
    # It would log its endpoint, which may hold a password.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    share = sampling.TraceIdRatioBased(ratio)
    sampler = sampling.ParentBased(share, remote_parent_sampled=share if service == "gateway" else sampling.ALWAYS_ON)
    resource = Resource.create({"service.name": f"hitline-{service}"})
    provider = trace.TracerProvider(sampler, resource, shutdown_on_exit=False)
    provider.add_span_processor(export.BatchSpanProcessor(_reporting(exporter or _otlp())))
    return Traces(provider)


def _otlp() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(timeout=_EXPORT_S)


def _reporting(exporter: SpanExporter) -> SpanExporter:
    """Return the exporter, with a line of log when it begins to fail and when it works again."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Reporting(SpanExporter):
        failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = exporter.export(spans)
            failed = result is not SpanExportResult.SUCCESS
            if failed and not self.failing:
                log.warning("traces can't be sent; see OTEL_EXPORTER_OTLP_ENDPOINT; pageviews do not wait for them")
            elif self.failing and not failed:
                log.info("traces are sent again")
            self.failing = failed
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    return Reporting()

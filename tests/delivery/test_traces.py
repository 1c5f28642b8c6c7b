"""Traces of a running system, as an OTLP receiver gets them: one from the client's span to the insert."""

from __future__ import annotations

import gzip
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests import http as plain
from tests import parts, services

_TRACE, _PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Receiver:
    """An OTLP receiver over HTTP that keeps what comes."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> dict[str, list[tuple[str, Span]]]:
        """Return the service and span of each, by name."""
        found: dict[str, list[tuple[str, Span]]] = {}
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                named = {each.key: each.value.string_value for each in resource.resource.attributes}
                service = named["service.name"]
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        found.setdefault(span.name, []).append((service, span))
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes}


def test_one_trace_goes_from_the_client_to_the_insert(stack: parts.Stack, receiver: Receiver, tmp_path: Path) -> None:
    with services.system(stack.clickhouse, stack.broker, tmp_path, workers=0, traces_ratio="1") as system:
        system.gateway.stop()
        for process_env in (system.env, system.gateway.env):
            process_env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        system.gateway.start()
        worker = system.add_worker()
        services.wait_for(lambda: plain.ready(system.gateway.admin_port))
        secret = {"visitor_ip": "203.0.113.77", "user_agent": "Secret/1.0", "url": "https://example.com/private?a=b"}
        posted = plain.request(
            system.port,
            body=services.pageview(**secret),
            token=system.token,
            headers={"traceparent": f"00-{_TRACE}-{_PARENT}-01"},
        )
        assert posted.status == 202
        assert plain.request(system.port, "GET", "/private/203.0.113.78?token=secret").status == 404
        system.wait_for_outcomes(1)
        assert (system.gateway.stop(), worker.stop()) == (0, 0)

    spans = receiver.spans()
    (gateway, request), (_, sent), (worked, done), (_, insert) = (
        next(each for each in spans[name] if each[1].trace_id.hex() == _TRACE)
        for name in (
            "POST /api/ingest/server/pageview", "send hitline.pageviews", "process hitline.pageviews",
            "INSERT hitline.pageviews_raw",
        )
    )  # fmt: skip
    assert (gateway, worked) == ("hitline-gateway", "hitline-worker")
    assert request.parent_span_id.hex() == _PARENT
    assert (sent.parent_span_id, done.parent_span_id, insert.parent_span_id) == (
        request.span_id, sent.span_id, done.span_id,
    )  # fmt: skip
    assert [link.span_id for link in sent.links] == [request.span_id]
    assert attributes(request)["http.response.status_code"] == 202
    assert attributes(sent)["messaging.message.id"] == attributes(done)["messaging.message.id"]
    assert attributes(done)["hitline.outcome.stored"] == attributes(insert)["hitline.rows"] == 1
    assert done.start_time_unix_nano <= insert.start_time_unix_nano <= insert.end_time_unix_nano
    assert insert.end_time_unix_nano <= done.end_time_unix_nano
    assert attributes(spans["GET other"][0][1])["http.response.status_code"] == 404
    everything = b"".join(receiver.bodies)
    for text in ("203.0.113", "Secret", "private", "secret", "127.0.0.1", system.token, "example.com"):
        assert text.encode() not in everything


@pytest.mark.processes
def test_nothing_of_the_sdk_is_loaded_while_traces_are_off(tmp_path: Path) -> None:
    code = (
        "import sys, gateway.__main__, worker.__main__\n"
        "from shared.settings import load\n"
        "from gateway.settings import GatewaySettings\n"
        "from worker.settings import WorkerSettings\n"
        "gateway.__main__.Gateway(load(GatewaySettings))\n"
        "import worker.run; worker.run.Worker(load(WorkerSettings))\n"
        # What else is loaded of it, where it is installed, is what the library of Redis looks for.
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=parts.make_env(tmp_path), cwd=services.ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr

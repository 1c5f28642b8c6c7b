"""The private port, and whose address counts."""

from __future__ import annotations

from pathlib import Path

from tests import http, services
from tests.services import System

METRICS = (
    "hitline_requests_total", "hitline_request_seconds_bucket", "hitline_rejected_total",
    "hitline_accepted_pageviews_total", "hitline_group_pageviews_bucket", "hitline_confirm_seconds_bucket",
    "hitline_published_messages_total", "hitline_messages_in_flight", "hitline_pageviews_waiting",
    "hitline_requests_in_flight", "hitline_broker_up", "hitline_registry_age_seconds", "hitline_registry_version",
)  # fmt: skip


def metric(system: System, line: str) -> float:
    text = http.request(system.gateway.admin_port, "GET", "/metrics").body.decode()
    return next((float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line)), 0.0)


def test_health_readiness_and_metrics_are_on_the_private_port_alone(system: System) -> None:
    admin = system.gateway.admin_port
    assert (system.post(dnt=True).status, system.post(visitor_ip="x").status) == (202, 400)

    assert http.request(admin, "GET", "/healthz").body == b"ok\n"
    assert http.request(admin, "GET", "/readyz").body == b"ready\n"
    text = http.request(admin, "GET", "/metrics").body.decode()
    assert [name for name in METRICS if f"\n{name}" not in text] == []
    assert {http.request(system.port, "GET", path).status for path in ("/healthz", "/readyz", "/metrics")} == {404}


def test_answers_are_counted_by_route_status_and_reason(system: System) -> None:
    accepted, bad = metric(system, "hitline_accepted_pageviews_total "), 'hitline_rejected_total{reason="invalid"}'
    invalid = metric(system, bad)

    system.post(dnt=True)
    system.post(visitor_ip="x")
    http.request(system.port, path=http.BATCH_ENDPOINT, body=[services.pageview(dnt=True), {}], token=system.token)

    assert metric(system, "hitline_accepted_pageviews_total ") == accepted + 2
    assert metric(system, bad) == invalid + 2
    assert metric(system, 'hitline_requests_total{route="/api/ingest/server/pageview",status="400"}') >= 1


def test_answers_to_malformed_http_are_counted_too(system: System) -> None:
    line = 'hitline_requests_total{route="other",status="400"}'
    before = metric(system, line)

    assert http.raw(system.port, b"NO HTTP\r\n\r\n").status == 400

    assert metric(system, line) == before + 1


def test_failed_tokens_count_against_the_address_that_a_trusted_proxy_names(system: System, tmp_path: Path) -> None:
    env = {**system.env, "HITLINE_HTTP_PORT": "0", "HITLINE_TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8"}

    def fail(gateway: services.Service, forwarded: str) -> int:
        headers = {"X-API-Key": "wrong", "X-Forwarded-For": forwarded}
        return http.request(gateway.port, body=services.pageview(), headers=headers).status

    with services.service("gateway", env, tmp_path / "gateway.log") as gateway:
        services.wait_for(lambda: http.ready(gateway.admin_port))
        assert {fail(gateway, "192.0.2.1, 10.1.1.1") for _ in range(101)} == {401, 429}
        assert fail(gateway, "192.0.2.2") == 401
        assert fail(gateway, "192.0.2.2, 192.0.2.1") == 429, "the last hop that is not a trusted proxy counts"
        assert fail(gateway, "spoofed, 192.0.2.1, 10.1.1.1") == 429
        assert {fail(gateway, f"2001:db8::{number}") for number in range(1, 102)} == {401, 429}, "a /64 is one client"
        assert fail(gateway, "2001:db8:0:1::1") == 401


def test_no_proxy_is_trusted_by_default(system: System) -> None:
    statuses = {
        http.request(
            system.port, body=services.pageview(), headers={"X-API-Key": "x", "X-Forwarded-For": f"192.0.2.{number}"}
        ).status
        for number in range(101)
    }

    assert statuses == {401, 429}

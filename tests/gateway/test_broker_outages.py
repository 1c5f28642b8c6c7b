"""What a gateway answers while its broker fails in every way that one machine allows; never a false 202."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from shared import queue
from tests import http, parts, services
from tests.services import System


@pytest.fixture(scope="module")
def fragile(
    clickhouse: ClickHouseProcess, mortal_broker: RabbitMQNode, _schema: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """A system without workers, so that the queue shows what was taken."""
    parts.empty_tables(clickhouse)
    directory = tmp_path_factory.mktemp("fragile")
    with services.system(clickhouse, mortal_broker, directory, workers=0, confirm_seconds="2") as running:
        yield running


def taken(system: System) -> int:
    """Number of messages in the queue; each carries one pageview here, as they are posted one at a time."""
    return parts.run_apart(lambda: parts.depth(system.broker.amqp_url, queue.QUEUE))


def until_taken(system: System, within_s: float = 60) -> float:
    began = time.monotonic()
    services.wait_for(lambda: system.post().status == 202, within_s)
    return time.monotonic() - began


def assert_refused(answer: http.Answer) -> None:
    assert answer.status == 503
    assert answer.message.startswith("not taken: ")
    assert int(answer.headers["retry-after"]) >= 1


def assert_refused_beside_a_bad_item(system: System) -> None:
    """A shipper would drop the whole batch at a 400, and with it what could have been taken later."""
    batch = [services.pageview(visitor_ip="x"), services.pageview(), services.pageview(url="https://nowhere.example/")]
    answer = http.request(system.port, path=http.BATCH_ENDPOINT, body=batch, token=system.token)

    assert (answer.status, int(answer.headers["retry-after"]) >= 1) == (503, True)
    assert answer.json["message"].startswith("not taken: ")
    assert [each["status"] for each in answer.json["errors"]] == [400, 503, 404]


def test_a_deleted_queue_is_503_until_it_is_there_again(fragile: System) -> None:
    assert fragile.post().status == 202
    parts.run_apart(lambda: parts.delete_queue(fragile.broker.amqp_url, queue.QUEUE))

    for _ in range(3):
        answer = fragile.post()
        assert_refused(answer)
        assert "hitline migrate" in answer.message
    assert_refused_beside_a_bad_item(fragile)

    services.hitline(fragile.env, "migrate")
    fragile.broker.sync_new_queues()
    until_taken(fragile)
    assert taken(fragile) >= 1


def test_a_broker_without_the_exchange_is_503_and_not_ready_until_migrate_has_run(fragile: System) -> None:
    parts.run_apart(lambda: parts.delete_exchange(fragile.broker.amqp_url))
    fragile.gateway.stop()
    fragile.gateway.start()  # as one that is started before the first `hitline migrate`

    for _ in range(3):
        assert http.request(fragile.gateway.admin_port, "GET", "/readyz").status == 503
        answer = fragile.post()
        assert_refused(answer)
        assert "hitline migrate" in answer.message

    services.hitline(fragile.env, "migrate")
    until_taken(fragile)


def test_an_exchange_that_is_deleted_is_noticed_with_the_first_publish(fragile: System) -> None:
    assert fragile.post().status == 202
    parts.run_apart(lambda: parts.delete_exchange(fragile.broker.amqp_url))
    try:
        assert fragile.post().message.startswith("unknown: ")  # it was sent
        for _ in range(3):
            services.wait_for(lambda: "hitline migrate" in fragile.post().message)
    finally:
        services.hitline(fragile.env, "migrate")
    until_taken(fragile)


def test_a_full_queue_is_503_and_nothing_of_it_is_taken(fragile: System) -> None:
    parts.run_apart(lambda: parts.empty_queues(fragile.broker.amqp_url))
    fragile.broker.ctl("set_policy", "tiny", "^hitline.pageviews$", '{"max-length": 5}', "--apply-to", "queues")
    try:
        answers = [fragile.post() for _ in range(60)]
        refused = [answer for answer in answers if answer.status != 202]
        assert refused
        for answer in refused:
            assert_refused(answer)
        assert taken(fragile) == len(answers) - len(refused)
    finally:
        fragile.broker.ctl("clear_policy", "tiny")
    parts.run_apart(lambda: parts.empty_queues(fragile.broker.amqp_url))
    until_taken(fragile)


@pytest.mark.parametrize(
    "stop",
    [
        # Also in the short form of delivery/test_broker_ledger.py.
        pytest.param(RabbitMQNode.stop, id="stopped", marks=pytest.mark.full),
        pytest.param(RabbitMQNode.kill, id="killed"),
    ],
)
def test_a_broker_that_is_gone_is_503_and_its_return_is_noticed(
    fragile: System, stop: Callable[[RabbitMQNode], None]
) -> None:
    stop(fragile.broker)
    try:
        answer = fragile.post()
        assert answer.status == 503
        for _ in range(3):
            assert_refused(fragile.post())
        assert http.request(fragile.gateway.admin_port, "GET", "/readyz").status == 503
        assert http.request(fragile.gateway.admin_port, "GET", "/healthz").status == 200
    finally:
        fragile.broker.start()
    until_taken(fragile)


def test_an_alarm_is_503_at_once_and_its_end_is_202(fragile: System) -> None:
    fragile.broker.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        services.wait_for(lambda: fragile.post().status == 503)
        assert min(seconds_of_a_refusal(fragile) for _ in range(5)) < 1, "each waits for a confirm"
    finally:
        fragile.broker.ctl("set_vm_memory_high_watermark", "0.6")
    until_taken(fragile)


def seconds_of_a_refusal(system: System) -> float:
    began = time.monotonic()
    assert_refused(system.post())
    return time.monotonic() - began


def test_a_client_that_disconnects_does_not_affect_others(fragile: System) -> None:
    body = json.dumps(services.pageview()).encode()
    head = (
        f"POST {http.ENDPOINT} HTTP/1.1\r\nHost: x\r\nX-API-Key: {fragile.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", fragile.port))
        connection.sendall(head.encode() + body)
        connection.close()
        assert fragile.post().status == 202


def test_a_gateway_starts_from_its_copy_of_the_registry_while_clickhouse_is_away(
    fragile: System, tmp_path: Path
) -> None:
    env = {**fragile.env, "HITLINE_CLICKHOUSE_URL": "http://127.0.0.1:1", "HITLINE_HTTP_PORT": "0"}
    fragile.gateway.stop()
    try:
        with services.service("gateway", env, tmp_path / "gateway.log") as gateway:
            services.wait_for(lambda: http.ready(gateway.admin_port))
            assert http.request(gateway.port, body=services.pageview(), token=fragile.token).status == 202
        make_older(Path(env["HITLINE_STATE_DIR"]), 86_400)
        env["HITLINE_REGISTRY_MAX_AGE_SECONDS"] = "3600"
        with services.service("gateway", env, tmp_path / "late.log") as gateway:
            answer = http.request(gateway.port, body=services.pageview(), token=fragile.token)
            assert_refused(answer)
            assert "registry" in answer.message
            ready = http.request(gateway.admin_port, "GET", "/readyz")
            assert (ready.status, ready.body) == (503, b"the copy of the registry is too old\n")
    finally:
        fragile.gateway.start()


def make_older(state: Path, seconds: float) -> None:
    for path in state.glob("registry-gateway-*.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE polled SET at_s = at_s - ?", (seconds,))


def test_a_gateway_without_any_registry_is_503_never_401_or_404(fragile: System, tmp_path: Path) -> None:
    env = {
        **fragile.env, "HITLINE_CLICKHOUSE_URL": "http://127.0.0.1:1", "HITLINE_HTTP_PORT": "0",
        "HITLINE_STATE_DIR": str(tmp_path / "empty"),
    }  # fmt: skip
    with services.service("gateway", env, tmp_path / "gateway.log") as gateway:
        answer = http.request(gateway.port, body=services.pageview(), token=fragile.token)
        assert_refused(answer)
        assert "registry" in answer.message
        assert http.request(gateway.admin_port, "GET", "/readyz").status == 503

"""Two clients, one of which does everything to keep the other out: its costs are its own."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import http, services
from tests.services import Service, System

MIB = 2**20
#: How long the long form lets each attack go on.
SECONDS = float(os.environ.get("HITLINE_TEST_HOSTILE_SECONDS", "300"))


@contextlib.contextmanager
def opened(port: int, number: int, data: bytes) -> Iterator[list[socket.socket]]:
    """Open connections and send `data` on each, as far as it is taken."""
    connections = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(number)]
    try:
        for connection in connections:
            with contextlib.suppress(OSError):  # those that are refused are closed
                connection.sendall(data)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def head(path: str, length: int, token: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {token}\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def slow_token(system: System) -> str:
    token = services.add_client(system.env, "slow", "example.com", rate="1/hour")
    services.wait_for(lambda: system.post(dnt=True, token=token).status == 202)
    return token


def batch(system: System, token: str, body: bytes, **headers: str) -> http.Answer:
    path = http.BATCH_ENDPOINT
    return http.request(system.port, path=path, body=body, token=token, headers=headers, timeout_s=90)


def test_a_client_that_fills_the_buffers_with_batches_that_never_end_keeps_nobody_out(
    system: System, slow_token: str
) -> None:
    length = 4 * MIB
    before = int(system.post(dnt=True, token=slow_token).headers["ratelimit-remaining"])
    with opened(system.port, 32, head(http.BATCH_ENDPOINT, length, slow_token) + b" " * (length - 20)):
        body = "\n".join([json.dumps(services.pageview(dnt=True))] * 2000).encode()
        for _ in range(3):
            assert batch(system, system.token, body).status == 202
            assert system.post(dnt=True).status == 202
    left = int(system.post(dnt=True, token=slow_token).headers["ratelimit-remaining"])
    assert before - left >= 32  # its batches have cost it, though none was ever whole


@pytest.mark.parametrize(
    ("unpacked", "status", "cost"),
    [
        (b"[" + b"[]," * (4 * MIB // 3) + b"[]]", 413, 4096),  # refused whole: one for each KiB
        (b"{}," * (4 * MIB // 3), 413, 64),  # a single item: one for each 64 KiB
        (b"[NaN," + b" " * (4 * MIB) + b"{}]", 400, 64),
    ],
)
def test_a_batch_that_is_refused_costs_its_client_what_it_made_work(
    system: System, unpacked: bytes, status: int, cost: int
) -> None:
    token = services.add_client(system.env, f"refused {random.random()}", "example.com", rate="100000/hour")
    before = services.wait_for(lambda: (a := system.post(dnt=True, token=token)).status == 202 and a)
    began = time.monotonic()
    answer = batch(system, token, gzip.compress(unpacked), **{"Content-Encoding": "gzip"})
    took_s = time.monotonic() - began

    print(f"{took_s:.3f} s")
    assert answer.status == status
    used = int(before.headers["ratelimit-remaining"]) - int(answer.headers["ratelimit-remaining"])
    given_back = (took_s + 1) * 100_000 / 3600  # by time, since the first of the two answers
    assert used >= cost - given_back


def test_nothing_of_a_body_is_read_before_the_token(system: System) -> None:
    asked = f"POST {http.ENDPOINT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n"

    answer = http.raw(system.port, asked.encode())

    assert (answer.status, answer.headers["connection"]) == (401, "close")


def test_twenty_gzip_batches_at_once_leave_the_broker_connected(system: System) -> None:
    assert_broker_stays(system, 20, MIB // 2)


@pytest.mark.full
def test_fifty_gzip_batches_of_4_mib_at_once_leave_the_broker_connected(system: System) -> None:
    assert_broker_stays(system, 50, 4 * MIB)


def assert_broker_stays(system: System, number: int, size: int) -> None:
    item = json.dumps(services.pageview(dnt=True)).encode() + b"\n"
    packed = gzip.compress(item * (size // len(item)))
    answers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(batch(system, system.token, packed, **{"Content-Encoding": "gzip"}).status)
        )
        for _ in range(number)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(answers) <= {202, 503}
    assert "unusable connection" not in system.gateway.text()
    assert system.post(dnt=True).status == 202


def half_batches(port: int, token: str) -> None:
    with opened(port, 4, head(http.BATCH_ENDPOINT, 4 * MIB, token) + b" " * (3 * MIB + MIB // 2)):
        pass


def heads(port: int, _: str) -> None:
    large = (b"X: " + b"y" * 8000 + b"\r\n") * 120
    with opened(port, 10, b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n" + large):
        time.sleep(0.2)


def pipelines(port: int, _: str) -> None:
    one = b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n"
    connections = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(10)]
    for connection in connections:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.send((one + b"\r\n") * 100 + (one + (b"X: " + b"y" * 8000 + b"\r\n") * 3) * 10)
    time.sleep(0.3)
    for connection in connections:
        connection.close()


def anonymous_bodies(port: int, _: str) -> None:
    with opened(port, 200, head(http.ENDPOINT, 65_000, "nobody") + b" " * 64_000):
        time.sleep(0.2)


ATTACKS: list[Callable[[int, str], None]] = [half_batches, heads, pipelines, anonymous_bodies]


@pytest.mark.parametrize("attack", ATTACKS)
def test_another_client_is_served_while_it_goes_on(
    system: System, slow_token: str, tmp_path: Path, attack: Callable[[int, str], None]
) -> None:
    with own_gateway(system, tmp_path) as gateway:
        assert_served(gateway, system.token, slow_token, attack, 3)


@pytest.mark.full
@pytest.mark.parametrize("attack", ATTACKS)
def test_another_client_is_served_for_minutes_and_memory_comes_back(
    system: System, slow_token: str, tmp_path: Path, attack: Callable[[int, str], None]
) -> None:
    with own_gateway(system, tmp_path) as gateway:
        before = gateway.resident_mib()
        assert_served(gateway, system.token, slow_token, attack, SECONDS)
        # Freed memory that the allocator keeps for the next request is not what an attack has left behind.
        services.wait_for(lambda: gateway.resident_mib() < before + 120)
        print(f"{before:.0f} MiB before, {gateway.resident_mib():.0f} MiB after")


@contextlib.contextmanager
def own_gateway(system: System, directory: Path) -> Iterator[Service]:
    with services.service("gateway", {**system.env, "HITLINE_HTTP_PORT": "0"}, directory / "gateway.log") as gateway:
        services.wait_for(lambda: http.ready(gateway.admin_port))
        yield gateway


def assert_served(
    gateway: Service, token: str, hostile_token: str, attack: Callable[[int, str], None], seconds: float
) -> None:
    """Run the attack beside a good client, all of whose posts must be taken; memory stays within 512 MiB."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                attack(gateway.port, hostile_token)

    alone = latencies(gateway, token, min(seconds, 10))
    attacker = threading.Thread(target=go_on)
    attacker.start()
    try:
        beside = latencies(gateway, token, seconds)
    finally:
        stop.set()
        attacker.join()
    print(f"{attack.__name__}: p99 {p99(alone):.3f} s alone, {p99(beside):.3f} s beside it")
    assert gateway.running


def latencies(gateway: Service, token: str, seconds: float) -> list[float]:
    taken: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.monotonic()
        assert http.request(gateway.port, body=services.pageview(dnt=True), token=token).status == 202
        taken.append(time.monotonic() - began)
        assert gateway.resident_mib() < 512
        time.sleep(0.01)
    return taken


def p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]

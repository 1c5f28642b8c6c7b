"""Two clients, one of which does everything to keep the other out: its costs are its own."""

from __future__ import annotations

import gzip
import json
import os
import random
import threading
import time
from collections.abc import Iterator

import pytest

from tests import http, services
from tests.bench.attacks import ATTACKS, head, opened
from tests.bench.neighbours import KEPT_MIB, MEMORY_MIB, Bench, Seen, bench, lowest_mib, stored_s
from tests.services import System

MIB = 2**20
#: How long the long form lets each attack go on.
SECONDS = float(os.environ.get("HITLINE_TEST_HOSTILE_SECONDS", "300"))


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
        (b"{}," * (4 * MIB // 3), 413, 4096),  # one item, which is too large: as much
        (b"[NaN," + b" " * (4 * MIB) + b"{}]", 400, 4096),
        (b"[" + b",".join([b"[1," * 300 + b"1" + b"]" * 300] * 500) + b"]", 400, 1000),  # by the search for their ends
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


@pytest.fixture(scope="module")
def neighbours(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A gateway with two clients."""
    with bench(system, tmp_path_factory.mktemp("neighbours")) as running:
        yield running


@pytest.mark.parametrize("attack", ATTACKS)
def test_another_client_is_served_while_it_goes_on(neighbours: Bench, attack: str) -> None:
    assert_served(neighbours, neighbours.attack(attack, 1.2))


@pytest.mark.full
@pytest.mark.parametrize("attack", ATTACKS)
def test_another_client_is_served_for_minutes_and_memory_comes_back(neighbours: Bench, attack: str) -> None:
    before_mib = neighbours.gateway.resident_mib()
    seen = neighbours.measure(attack, SECONDS)
    print(f"{attack}: p99 {seen.p99_ms('nothing'):.0f} ms alone, {seen.p99_ms('attack'):.0f} ms beside it")
    assert_served(neighbours, seen)
    # Freed memory that the allocator keeps for the next request is not what an attack has left behind.
    assert lowest_mib(neighbours.gateway, before_mib + KEPT_MIB) <= before_mib + KEPT_MIB


def assert_served(running: Bench, seen: Seen) -> None:
    """All posts of the good client must have been taken and stored; memory stays within its bound.

    How long they took says little on a machine that runs other tests: `make bench ONLY=neighbours` compares that.
    """
    assert seen.seconds["attack"]
    assert seen.failed == []
    assert running.peak_mib < MEMORY_MIB
    assert running.gateway.running
    assert len(seen.accepted) == sum(map(len, seen.seconds.values()))
    services.wait_for(lambda: seen.accepted <= stored_s(running.system).keys(), 120)

"""Thousands of requests at once: all are answered, in bounded memory."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gzip
import json
import re
import resource
import socket
import time
from pathlib import Path

import pytest

from tests import http, load, services
from tests.services import System


async def test_a_thousand_requests_at_once_are_all_answered(system: System) -> None:
    await prove(system, 1_000)


@pytest.mark.full
async def test_ten_thousand_requests_at_once_are_all_answered_within_250_mib(system: System) -> None:
    await prove(system, 10_000)


async def prove(system: System, number: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * number + 1000), most))
    connections = [await asyncio.open_connection("127.0.0.1", system.port) for _ in range(number)]
    peak = 0.0
    try:
        answers = [asyncio.create_task(ask(system, *connection)) for connection in connections]
        while not all(answer.done() for answer in answers):
            peak = max(peak, system.gateway.resident_mib())
            await asyncio.sleep(0.05)
        statuses = [answer.result() for answer in answers]
    finally:
        for _, writer in connections:
            writer.close()
    print(f"{number} requests at once: {peak:.0f} MiB resident at most")
    assert statuses == [202] * number
    assert peak < 250


def head_of(system: System, length: int) -> bytes:
    headers = f"Host: x\r\nX-API-Key: {system.token}\r\nContent-Length: {length}"
    head = f"POST {http.ENDPOINT} HTTP/1.1\r\n{headers}\r\n\r\n"
    return head.encode()


async def ask(system: System, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    body = json.dumps(services.pageview(dnt=True)).encode()
    head = (
        f"POST {http.ENDPOINT} HTTP/1.1\r\nHost: x\r\nX-API-Key: {system.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    line = await reader.readline()
    return int(line.split()[1])


def test_a_slow_client_keeps_nobody_else_waiting(system: System) -> None:
    slow = [socket.create_connection(("127.0.0.1", system.port)) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(f"POST {http.ENDPOINT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        began = time.monotonic()
        assert system.post(dnt=True).status == 202
        assert time.monotonic() - began < 8
    finally:
        for connection in slow:
            connection.close()


def test_clients_that_stop_sending_still_get_their_answers(system: System) -> None:
    """Many times: the end may be noticed before, while or after the request is taken up."""
    for number in range(300):
        answers = half_closed(system, [b"{}"] * (1 + number % 3))
        assert answers == ["400"] * (1 + number % 3), f"connection {number}"


def test_a_pageview_of_a_client_that_stops_sending_is_taken(system: System) -> None:
    assert half_closed(system, [json.dumps(services.pageview(dnt=True)).encode()] * 3) == ["202"] * 3


def half_closed(system: System, bodies: list[bytes]) -> list[str]:
    """Send requests with these bodies and the connection's end behind them; return the answers' statuses."""
    with socket.create_connection(("127.0.0.1", system.port), timeout=60) as connection:
        connection.sendall(b"".join(head_of(system, len(body)) + body for body in bodies))
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    return re.findall(r"HTTP/1.1 (\d+) ", received.decode())


def test_a_client_that_disconnects_in_the_middle_of_its_body_is_not_logged_as_an_error(system: System) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", system.port), timeout=60) as connection:
            connection.sendall(head_of(system, 500) + b"{")
    services.wait_for(lambda: system.post(dnt=True).status == 202)
    assert "request handler failed" not in system.gateway.text()


def test_pipelined_requests_are_answered_in_order(system: System) -> None:
    def one(body: bytes) -> bytes:
        return head_of(system, len(body)) + body

    good, bad = json.dumps(services.pageview(dnt=True)).encode(), b"{"
    with socket.create_connection(("127.0.0.1", system.port), timeout=60) as connection:
        connection.sendall(one(good) + one(bad) + one(good))
        received = b""
        while received.count(b"HTTP/1.1 ") < 3 or not received.endswith(b"\r\n\r\n"):
            part = connection.recv(65536)
            assert part, f"closed after {received!r}"
            received += part
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"202", b"400", b"202"]


@pytest.mark.full
def test_a_connection_that_never_sends_a_whole_head_is_closed(system: System) -> None:
    with socket.create_connection(("127.0.0.1", system.port), timeout=60) as connection:
        connection.sendall(b"POST /api/ingest/server/pageview HTTP/1.1\r\nHost: x\r\n")
        assert connection.recv(100) == b""


def test_batches_that_never_end_are_bounded_and_keep_no_finished_one_out(system: System, tmp_path: Path) -> None:
    most = 4 * 1024 * 1024  # of 16 that are allowed, so that more of them fit
    headers = f"Host: x\r\nX-API-Key: {system.token}\r\nContent-Length: {most}"
    head = f"POST {http.BATCH_ENDPOINT} HTTP/1.1\r\n{headers}\r\n\r\n"
    with services.service("gateway", {**system.env, "HITLINE_HTTP_PORT": "0"}, tmp_path / "gateway.log") as gateway:
        services.wait_for(lambda: http.ready(gateway.admin_port))
        connections = [socket.create_connection(("127.0.0.1", gateway.port), timeout=60) for _ in range(48)]
        try:
            for connection in connections:
                with contextlib.suppress(OSError):  # those that were refused are closed
                    connection.sendall(head.encode() + b" " * (most - 1))
            answers = [answer for connection in connections if (answer := answer_so_far(connection))]
            print(f"{gateway.resident_mib():.0f} MiB resident with 48 batches of 4 MiB begun")
            assert gateway.resident_mib() < 300
            # On a slow machine the first ones' time is over before the last one is sent.
            refused = [answer for answer in answers if not answer.startswith(b"HTTP/1.1 408 ")]
            assert len(refused) >= 8
            for answer in refused:
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nRetry-After: 1\r\n" in answer
                assert b"not taken: " in answer
        finally:
            for connection in connections:
                connection.close()
        body = [services.pageview(dnt=True)] * 10
        services.wait_for(
            lambda: http.request(gateway.port, path=http.BATCH_ENDPOINT, body=body, token=system.token).status == 202
        )


@pytest.mark.parametrize("encoding", [pytest.param("identity", marks=pytest.mark.full), "gzip"])
async def test_64_batches_of_16_mib_at_once_leave_memory_and_time_for_others(
    system: System, tmp_path: Path, encoding: str
) -> None:
    await prove_batches(system, tmp_path, encoding, user_agent="x" * 4000)


@pytest.mark.full
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_64_batches_of_16_mib_of_usual_pageviews_leave_memory_and_time_for_others(
    system: System, tmp_path: Path, encoding: str
) -> None:
    await prove_batches(system, tmp_path, encoding)


async def prove_batches(system: System, directory: Path, encoding: str, **fields: str) -> None:
    item = json.dumps(services.pageview(dnt=True, **fields)).encode() + b"\n"
    body = item * min(50_000, 16 * 2**20 // len(item))
    body += b" " * (16 * 2**20 - len(body))
    sent = gzip.compress(body, 1) if encoding == "gzip" else body
    with services.service("gateway", {**system.env, "HITLINE_HTTP_PORT": "0"}, directory / "gateway.log") as gateway:
        services.wait_for(lambda: http.ready(gateway.admin_port))
        async with load.session(gateway.port, system.token, 70) as client:

            async def post_batch() -> int:
                headers = {"Content-Encoding": encoding}
                async with client.post(http.BATCH_ENDPOINT, data=sent, headers=headers) as answer:
                    await answer.read()
                    return answer.status

            batches = [asyncio.create_task(post_batch()) for _ in range(64)]
            peak, latencies, ledger = 0.0, [], load.Ledger()
            while not all(batch.done() for batch in batches):
                began = time.monotonic()
                assert await load.post(client, http.ENDPOINT, services.pageview(dnt=True), ledger) == 202
                latencies.append(time.monotonic() - began)
                peak = max(peak, gateway.resident_mib())
                await asyncio.sleep(0.01)
            answers = collections.Counter(batch.result() for batch in batches)
        latencies.sort()
        print(f"{encoding}: {dict(answers)}, {peak:.0f} MiB at most, {len(latencies)} single posts beside it,")
        print(f"half within {latencies[len(latencies) // 2]:.3f} s, the slowest {latencies[-1]:.3f} s")
    assert set(answers) <= {202, 503}
    assert answers[202] >= 4
    assert peak < 450
    assert latencies[len(latencies) * 9 // 10] < 2


def answer_so_far(connection: socket.socket) -> bytes:
    """Return what a connection has been answered by now: nothing while its batch is read, or if a reset took it."""
    connection.settimeout(0.2)
    try:
        return connection.recv(65536)
    except OSError:
        return b""

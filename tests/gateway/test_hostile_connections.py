"""What a stranger may do to a connection costs the stranger, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway import unread
from gateway.app import App, Routes
from gateway.authenticate import network_of
from gateway.connection import Connection
from gateway.connections import ConnectionLimits, default_most
from gateway.http import JsonServer, read_body
from gateway.listen import describe, listen
from gateway.memory_budget import MemoryBudget
from gateway.pace import Pace
from tests.garbage import collecting_nothing

LARGE = 2_000_000
GOOD = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
bodies = MemoryBudget(1_000_000_000)


async def large(_: BaseRequest) -> web.Response:
    return web.Response(body=b"x" * LARGE)


paced: list[int] = []


def wait_s(size: int) -> float:
    paced.append(size)
    return 0.0


async def post(request: BaseRequest) -> web.Response:
    paced.clear()
    with bodies.reservation("client") as reserve:
        body = await read_body(request, 16 * LARGE, reserve, wait_s)
    return web.Response(text=str(len(body)))


class Server:
    """A server in this process, and what it is asked."""

    def __init__(self, runner: web.ServerRunner, server: JsonServer, limits: ConnectionLimits, port: int) -> None:
        self.runner, self.server, self.limits, self.port = runner, server, limits, port

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, data: bytes) -> list[tuple[str, bytes]]:
        """Send bytes and the connection's end; return the answers' statuses and all that came."""
        reader, writer = await self.open()
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(60):
            received = await reader.read()
        writer.close()
        return [(status.decode(), received) for status in re.findall(rb"HTTP/1.[01] (\d+) ", received)]


@contextlib.asynccontextmanager
async def serve(limits: ConnectionLimits | None = None, stop_s: float = 1) -> AsyncIterator[Server]:
    limits = limits or ConnectionLimits()
    routes: Routes = {"/large": {"GET": large}, "/post": {"POST": post}}
    server = JsonServer(App(routes).handle, limits)
    runner = web.ServerRunner(server, shutdown_timeout=stop_s)
    await runner.setup()
    await listen(runner, limits, ["127.0.0.1"], 0)
    try:
        yield Server(runner, server, limits, runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def until(look: Callable[[], object], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not look():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)


def alive() -> int:
    return sum(isinstance(each, Connection) for each in gc.get_objects())


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


ABORTED = {
    "half a body": b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * LARGE,
    "half a chunk": b"POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n" + b"x" * LARGE,
    "a broken chunk": b"POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    "a malformed request": b"POST /post HTTP/1.1\r\nbad header\r\n\r\n",
    "a pipeline": GOOD * 20,
    "half a head": b"GET /large HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 5000,
}


@pytest.mark.parametrize("data", ABORTED.values(), ids=ABORTED)
async def test_an_aborted_connection_leaves_nothing_even_without_the_garbage_collector(data: bytes) -> None:
    async with serve() as server:
        with collecting_nothing():
            for _ in range(10):
                _, writer = await server.open()
                writer.write(data)
                await asyncio.sleep(0.02)
                writer.transport.abort()
                del writer
            await until(lambda: server.limits.open == 0)
            await until(lambda: alive() == 0)
        assert bodies.take("client", 400_000_000)  # whatever was reserved is released
        bodies.give_back("client", 400_000_000)


async def test_aborted_bodies_do_not_add_up_in_memory() -> None:
    async with serve() as server:
        with collecting_nothing():
            before = resident()
            for _ in range(40):
                _, writer = await server.open()
                writer.write(ABORTED["half a body"])
                await writer.drain()
                writer.transport.abort()
            await until(lambda: server.limits.open == 0)
            await until(lambda: resident() - before < 10 * LARGE, 5)


LIMITS = [
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "414"),
    (b"GET /large HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000 + b"\r\n\r\n", "431"),
    (b"GET /large HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 120 + b"\r\n", "431"),
    (b"GET /large HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"y" * 8000 + b"\r\n") * 5 + b"\r\n", "431"),
    (b"GET /large HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"y" * 8000 + b"\r\n") * 5, "431"),
    (b"GET http://xn--a/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    (b"GET /large HTTP/2.0\r\nHost: x\r\n\r\n", "505"),
    (b"GET /large HTTP/0.9\r\nHost: x\r\n\r\n", "505"),
    (b"POST /post HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
    (b"POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"),
    (b"GET /large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", "400"),
]


@pytest.mark.parametrize(("data", "status"), LIMITS)
async def test_what_is_over_a_limit_or_means_nothing_is_refused_in_json(data: bytes, status: str) -> None:
    async with serve() as server:
        answers = await server.ask(data)

    assert [each for each, _ in answers] == [status]
    assert b'{"message":"' in answers[0][1]
    assert b"\r\nConnection: close\r\n" in answers[0][1] or data.startswith(b"POST /post HTTP/1.0")
    assert answers[0][1].startswith(b"HTTP/1.1 ") or data.startswith(b"POST /post HTTP/1.0")
    assert b"\r\nServer: hitline\r\n" in answers[0][1]


async def test_good_requests_before_a_malformed_one_in_the_same_segment_are_answered() -> None:
    good = b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    async with serve() as server:
        answers = await server.ask(good * 3 + b"nonsense\r\n\r\n")

    assert [status for status, _ in answers] == ["200", "200", "200", "400"]


async def test_hundreds_of_pipelined_requests_are_answered_in_order() -> None:
    good = b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
    async with serve() as server:
        answers = await server.ask(b"".join(good % (length, b"x" * length) for length in range(300)))

    assert [status for status, _ in answers] == ["200"] * 300
    assert re.findall(rb"\r\n\r\n(\d+)", answers[0][1]) == [str(length).encode() for length in range(300)]


@pytest.mark.parametrize("path", ["/nothing", "/large"])
async def test_an_answer_before_the_body_has_arrived_says_that_the_connection_closes(path: str) -> None:
    async with serve() as server:
        reader, writer = await server.open()
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert b"\r\nConnection: close\r\n" in head


async def test_a_body_of_tiny_chunks_is_paced_by_its_chunks_and_never_read_in_one_go() -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - before)

    data = b"POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000
    async with serve() as server:
        with collecting_nothing():
            watching = asyncio.create_task(watch())
            answers = await server.ask(data + b"0\r\n\r\n")
            watching.cancel()

    assert answers[0][0] == "200"
    assert answers[0][1].endswith(b"\r\n\r\n100000")
    assert sum(paced) > 90_000 * 2048
    assert longest < 0.05


async def test_what_is_sent_in_vain_is_read_at_a_pace() -> None:
    limits = ConnectionLimits()
    limits.dropped = Pace(100_000, 10_000)
    async with serve(limits) as server:
        reader, writer = await server.open()
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000)
        head = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        assert head.startswith(b"HTTP/1.1 404 ")
        assert writer.transport.get_write_buffer_size() > 1_000_000
        await until(lambda: server.limits.open == 0)  # it does not wait for the rest for ever
        writer.transport.abort()


async def test_unhandled_bytes_of_one_address_are_bounded_and_everybody_else_is_served() -> None:
    limits = ConnectionLimits(1000, 1000)
    limits.unhandled = MemoryBudget(100_000)
    part = b"GET /large HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"y" * 7000 + b"\r\n") * 4
    async with serve(limits) as server:
        opened = [await server.open() for _ in range(20)]
        for _, writer in opened:
            writer.write(part)
        answers = [asyncio.create_task(reader.read(12)) for reader, _ in opened]
        await until(lambda: sum(answer.done() for answer in answers) >= 10)
        assert {answer.result() for answer in answers if answer.done()} == {b"HTTP/1.1 503"}
        posted = await server.ask(b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        assert [status for status, _ in posted] == ["200"]
        for answer in answers:
            answer.cancel()
        for _, writer in opened:
            writer.transport.abort()
        await until(lambda: limits.open == 0)
        assert limits.unhandled.take("anybody", 50_000)  # all of it was given back


async def test_connections_beyond_the_bound_are_answered_503_and_others_served_again_later() -> None:
    async with serve(ConnectionLimits(10, 4)) as server:
        opened = [await server.open() for _ in range(4)]
        await until(lambda: server.limits.open == 4)
        refused = await server.ask(b"")
        assert refused[0][0] == "503"
        assert b'{"message":"not taken: too many connections' in refused[0][1]
        assert b"\r\nRetry-After: 1\r\n" in refused[0][1]
        for _, writer in opened:
            writer.close()
        await until(lambda: server.limits.open == 0)
        assert (await server.ask(GOOD))[0][0] == "200"


def test_a_proxy_may_have_more_connections_than_an_address_but_no_more_than_there_are() -> None:
    limits = ConnectionLimits(10, 4, exempt=lambda address: address == "10.0.0.1")

    assert [limits.admit("10.0.0.1") for _ in range(8)] == [True] * 8
    assert [limits.admit("192.0.2.1") for _ in range(3)] == [True, True, False]
    limits.leave("10.0.0.1")
    assert limits.admit("192.0.2.1")


@pytest.mark.parametrize(
    ("peer", "share"), [("127.0.0.1", 300), ("::1", 300), ("192.0.2.1", 100), ("2001:db8::1", 100)]
)
def test_an_address_of_this_host_may_have_more_than_others(peer: str, share: int) -> None:
    limits = ConnectionLimits(400)

    assert sum(limits.admit(network_of(peer)) for _ in range(400)) == share


def test_connections_by_default_are_as_many_as_memory_bears() -> None:
    assert default_most(256 * 2**20) == 2048
    assert default_most(2**40) <= 20_000


async def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "WRITE_SECONDS", 0.05)
    async with serve() as server:
        never_reads = socket.socket()
        never_reads.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        never_reads.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(never_reads, ("127.0.0.1", server.port))
        await loop.sock_sendall(never_reads, GOOD * 5)
        await until(lambda: server.limits.open == 1)
        for _ in range(1_000):
            await asyncio.sleep(0.02)
            server.server._abort_unread()
            if not server.limits.open:
                break
        assert server.limits.open == 0
        never_reads.close()


async def test_a_stop_takes_no_longer_than_it_may_whatever_clients_do() -> None:
    async with serve(stop_s=3) as server:
        never_reads = await server.open()
        never_reads[1].write(GOOD * 5)
        half_a_body = await server.open()
        half_a_body[1].write(b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await until(lambda: server.limits.open == 2)
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        await server.runner.cleanup()
        assert asyncio.get_running_loop().time() - began < 5.5  # and not 3 s for each of two
        await until(lambda: server.limits.open == 0)


async def test_it_listens_on_both_families_and_on_a_unix_socket(tmp_path: Path) -> None:
    limits = ConnectionLimits()
    runner = web.ServerRunner(JsonServer(App({"/large": {"GET": large}}).handle, limits), shutdown_timeout=1)
    await runner.setup()
    path = tmp_path / "hitline.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    hosts = ["::", f"unix:{path}"]
    try:
        await listen(runner, limits, hosts, 0)
        port = runner.addresses[0][1]
        assert describe(hosts, runner) == f"[::]:{port},unix:{path}"
        opened = [
            await asyncio.open_connection("127.0.0.1", port),
            await asyncio.open_connection("::1", port),
            await asyncio.open_unix_connection(path),
        ]
        for reader, writer in opened:
            writer.write(GOOD)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()
    finally:
        await runner.cleanup()

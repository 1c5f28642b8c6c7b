"""The short way of the usual answer, compared with aiohttp's own: the same bytes, whatever arrives in which pieces."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accepted import Accepted
from gateway.connection import Connection
from gateway.connections import ConnectionLimits
from gateway.http import Handler, JsonServer, read_body
from gateway.rate_limit import Budget

BUDGET = Budget(1000, 998, 7)
REQUESTS = (
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /d HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    b"POST /f HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi",
    b"POST /g HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
    b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlate",
    b"NOT HTTP\r\n\r\n",
    b"POST /h HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nhi",
    b"POST /i HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nhi",
)


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1) if name == "peername" else default

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write_eof(self) -> None:
        pass


class Careful(Connection):
    """Always looks whether the parser has kept something."""

    __slots__ = ()

    @property
    def _may_have_more(self) -> bool:
        return True

    @_may_have_more.setter
    def _may_have_more(self, value: bool) -> None:
        pass


async def answers(
    handler: Handler, pieces: Sequence[bytes], kind: type[Connection] = Connection, half_closed: bool = False
) -> tuple[list[str], bool]:
    """Return the answers to what arrives in these pieces, the bodies of the requests, and whether it was closed."""
    bodies: list[bytes] = []

    async def handle(request: BaseRequest) -> web.StreamResponse:
        if request.path != "/unread":
            bodies.append(bytes(await read_body(request, 100)))
        return await handler(request)

    wire = Wire()
    limits = ConnectionLimits()
    connection = kind(JsonServer(handle, limits), asyncio.get_running_loop(), limits, "192.0.2.1")
    connection.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
            if half_closed and piece is pieces[-1]:
                connection.eof_received()
        for _ in range(8):
            await asyncio.sleep(0)
    for _ in range(40):
        await asyncio.sleep(0)
    closed = wire.closed
    connection.connection_lost(None)
    await asyncio.sleep(0)
    written = re.sub("Date: [^\r]+", "Date", wire.written.decode())
    return [*written.split("\r\n\r\n"), *map(repr, bodies)], closed


async def short(_: BaseRequest) -> web.StreamResponse:
    return Accepted(BUDGET)


async def usual(_: BaseRequest) -> web.StreamResponse:
    return web.Response(status=202, headers=BUDGET.headers())


@given(
    requests=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 400), max_size=4),
)
def test_it_sends_what_aiohttp_would(requests: list[bytes], cuts: list[int]) -> None:
    data = b"".join(requests)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(bounds) if start < end]
    found = asyncio.run(answers(short, pieces))
    assert found == asyncio.run(answers(usual, pieces, Careful))
    assert len(found[0]) > 1


@pytest.mark.parametrize(("data", "half_closed"), [(REQUESTS[0], True), (REQUESTS[7][:-2], False)])
async def test_a_connection_that_has_no_next_request_is_closed(data: bytes, half_closed: bool) -> None:
    found = await answers(short, [data], half_closed=half_closed)
    assert found == await answers(usual, [data], Careful, half_closed)
    assert (found[0][0].startswith("HTTP/1.1 202 "), found[1] or "Connection: close" in found[0][0]) == (True, True)


async def test_each_of_many_requests_on_a_connection_is_answered() -> None:
    found, closed = await answers(short, [REQUESTS[0], REQUESTS[3], REQUESTS[0] + REQUESTS[1], REQUESTS[2]])
    assert [found[:5].count(found[0]), closed] == [5, False]


async def test_what_follows_a_request_for_a_websocket_is_answered() -> None:
    found, closed = await answers(short, [REQUESTS[9] + REQUESTS[0] + REQUESTS[3] + REQUESTS[9], REQUESTS[0]])
    assert [found[:5].count(found[0]), closed] == [5, False]


@pytest.mark.parametrize("number", [9, 10])
@pytest.mark.parametrize("other", [0, 2, 3, 10])
async def test_an_upgrade_that_is_not_wanted_costs_no_later_request(number: int, other: int) -> None:
    pieces = [REQUESTS[number], REQUESTS[other], REQUESTS[0], REQUESTS[0]]
    found, closed = await answers(short, pieces)
    assert (found, closed) == await answers(usual, pieces, Careful)
    assert ["/1.1 202 " in each for each in found[:4]] == [True] * 4


#: Offers of HTTP/2, without a body, in chunks, and with a body that comes in two pieces.
OFFER = b"POST /i HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"
OFFERS = {
    "length": [REQUESTS[10]],
    "no body": [OFFER + b"\r\n"],
    "later body": [OFFER + b"Content-Length: 2\r\n\r\nh", b"i"],
    "chunks": [OFFER + b"Transfer-Encoding: chunked\r\n\r\n2\r\nh", b"i\r\n0\r\n\r\n"],
}


@pytest.mark.parametrize("kind", OFFERS)
@pytest.mark.parametrize("before", [b"", REQUESTS[0]])
async def test_what_is_behind_an_offer_of_another_protocol_is_answered_or_left_for_another_connection(
    kind: str, before: bytes
) -> None:
    pieces = [*OFFERS[kind][:-1], OFFERS[kind][-1] + REQUESTS[0]]
    found, _ = await answers(short, [before + pieces[0], *pieces[1:]])
    answered = ["Connection: close" in each for each in found if "/1.1 202 " in each]
    assert answered == ([False, True] if before else [True])


@pytest.mark.parametrize("kind", ["length", "no body", "later body"])
async def test_an_offer_with_nothing_behind_it_leaves_the_connection_open(kind: str) -> None:
    found, closed = await answers(short, [*OFFERS[kind], *OFFERS[kind], REQUESTS[0]])
    assert [sum("/1.1 202 " in each for each in found), closed] == [3, False]


async def test_what_arrives_behind_an_offer_before_it_is_answered_is_left_for_another_connection() -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(_: BaseRequest) -> web.StreamResponse:
        arrived.set()
        await release.wait()
        return Accepted(BUDGET)

    wire, limits = Wire(), ConnectionLimits()
    connection = Connection(JsonServer(slow, limits), asyncio.get_running_loop(), limits, "192.0.2.1")
    connection.connection_made(wire)
    connection.data_received(REQUESTS[10])
    await arrived.wait()
    connection.data_received(REQUESTS[0])
    release.set()
    for _ in range(40):
        await asyncio.sleep(0)
    assert wire.written.count(b" 202 ") == 1
    assert b"Connection: close" in wire.written
    connection.connection_lost(None)


@pytest.mark.parametrize("cut", range(6))
async def test_a_request_behind_a_head_that_was_cut_in_its_end_is_answered(cut: int) -> None:
    length = REQUESTS[0].find(b"\r\n\r\n") + cut
    found, closed = await answers(short, [REQUESTS[0] + REQUESTS[0][:length], REQUESTS[0][length:] + REQUESTS[0]])
    assert [found[:3].count(found[0]), closed] == [3, False]


async def test_a_client_that_does_not_read_is_answered_no_further() -> None:
    limits = ConnectionLimits()
    wire = Wire()
    connection = Connection(JsonServer(short, limits), asyncio.get_running_loop(), limits, "192.0.2.1")
    connection.connection_made(wire)
    connection.pause_writing()  # as the transport does when much of what was written is not read
    for _ in range(5):
        connection.data_received(REQUESTS[3] * 5)
        await asyncio.sleep(0)
    assert wire.written.count(b" 202 ") == 1
    connection.resume_writing()
    for _ in range(100):
        await asyncio.sleep(0)
    assert wire.written.count(b" 202 ") == 25
    connection.connection_lost(None)


def test_its_headers_are_there_for_whoever_asks() -> None:
    answer = Accepted(BUDGET)
    assert cast("Any", answer.headers)["RateLimit-Remaining"] == "998"
    assert answer.status == 202

"""What the sender does with every kind of answer, against a gateway with prepared answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.replay.send import Answer, GatewayError, Sender

Reply = Callable[[list[int]], Awaitable[web.StreamResponse] | web.StreamResponse]


class Gateway:
    """Answers one request after the other with `replies`, then takes all; items are numbers."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = list(replies)
        self.taken: list[int] = []
        self.asked: list[list[int]] = []
        self.times: list[float] = []
        self.answered = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        items = [orjson.loads(line) for line in body.splitlines()]
        self.asked.append(items)
        self.times.append(time.monotonic())
        self.answered.set()
        assert request.query["errors"] == "all"
        reply = (self._replies.pop(0) if self._replies else self.take)(items)
        return reply if isinstance(reply, web.StreamResponse) else await reply

    def take(self, items: list[int]) -> web.Response:
        self.taken += items
        return result(len(items))


def result(accepted: int, errors: Sequence[tuple[int, int]] = (), status: int = 202, **headers: str) -> web.Response:
    listed = [{"index": index, "status": code, "message": f"wrong {code}"} for index, code in errors]
    body = {"accepted": accepted, "rejected": len(listed), "errors": listed}
    return web.json_response({**({"message": "none"} if not accepted else {}), **body}, status=status, headers=headers)


def error(status: int, **headers: str) -> Reply:
    return lambda _: web.json_response({"message": "no"}, status=status, headers=headers)


async def lost(_: list[int]) -> web.StreamResponse:
    raise ConnectionResetError  # aiohttp closes the connection without an answer


async def send(
    gateway: Gateway, items: int = 4, notes: list[str] | None = None, give_up_s: float | None = None
) -> list[Answer]:
    app = web.Application()
    app.router.add_post("/api/ingest/server/pageviews", gateway.handle)
    note = (notes if notes is not None else []).append
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        sender = Sender(session, str(server.make_url("/")), compress=False, give_up_s=give_up_s, note=note)
        return await sender.send([str(number).encode() for number in range(items)])


TAKEN = Answer(202)


async def test_all_taken() -> None:
    gateway = Gateway()
    assert await send(gateway) == [TAKEN] * 4
    assert gateway.asked == [[0, 1, 2, 3]]


async def test_permanent_refusals_are_not_repeated() -> None:
    gateway = Gateway(lambda _: result(2, [(1, 400), (3, 404)]))
    assert await send(gateway) == [TAKEN, Answer(400, "wrong 400"), TAKEN, Answer(404, "wrong 404")]
    assert len(gateway.asked) == 1
    gateway = Gateway(lambda _: result(0, [(index, 404) for index in range(4)], status=404))
    assert await send(gateway) == [Answer(404, "wrong 404")] * 4


async def test_items_that_were_not_taken_for_now_are_repeated_alone() -> None:
    gateway = Gateway(
        lambda _: result(2, [(1, 503), (3, 400)]), lambda _: result(0, [(0, 503)], 503, **{"Retry-After": "0"})
    )
    assert await send(gateway) == [TAKEN, TAKEN, TAKEN, Answer(400, "wrong 400")]
    assert gateway.asked == [[0, 1, 2, 3], [1], [1]]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_refused_batch_is_repeated_whole(status: int) -> None:
    gateway = Gateway(error(status), error(status))
    notes: list[str] = []
    assert await send(gateway, notes=notes) == [TAKEN] * 4
    assert gateway.asked == [[0, 1, 2, 3]] * 3
    assert f"HTTP {status}: no" in notes[0]
    assert notes[-1] == ""


async def test_a_lost_answer_is_a_reason_to_repeat() -> None:
    gateway = Gateway(lost)
    assert await send(gateway) == [TAKEN] * 4
    assert gateway.asked == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("retry_after", ["1", "date"])
async def test_retry_after_is_waited_for(retry_after: str) -> None:
    value = formatdate(time.time() + 2, usegmt=True) if retry_after == "date" else retry_after
    gateway = Gateway(error(429, **{"Retry-After": value}))
    await send(gateway)
    assert gateway.times[1] - gateway.times[0] >= 0.95


async def test_a_retry_after_pauses_all_requests() -> None:
    gateway = Gateway(error(503, **{"Retry-After": "1"}))
    app = web.Application()
    app.router.add_post("/api/ingest/server/pageviews", gateway.handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        sender = Sender(session, str(server.make_url("/")), compress=False, give_up_s=None, note=lambda _: None)
        first = asyncio.create_task(sender.send([b"1"]))
        await gateway.answered.wait()
        await asyncio.sleep(0.05)
        await asyncio.gather(first, sender.send([b"2"]))
    assert min(gateway.times[1:]) - gateway.times[0] >= 0.95


async def test_a_batch_that_is_too_large_goes_in_parts() -> None:
    gateway = Gateway()
    limit: Reply = lambda items: error(413)(items) if len(items) > 2 else gateway.take(items)  # noqa: E731
    gateway._replies = [limit] * 20
    assert await send(gateway, items=9) == [TAKEN] * 9
    assert sorted(gateway.taken) == list(range(9))
    gateway = Gateway(error(413))
    assert await send(gateway, items=1) == [Answer(413, "no")]


async def test_an_answer_that_does_not_name_all_its_errors_is_asked_again_in_parts() -> None:
    def short(items: list[int]) -> web.Response:
        bad = [index for index, item in enumerate(items) if item == 3]
        cut = [] if len(items) > 1 else [{"index": index, "status": 400, "message": "bad"} for index in bad]
        return web.json_response({"accepted": len(items) - len(bad), "rejected": len(bad), "errors": cut}, status=202)

    gateway = Gateway(*[short] * 20)
    assert await send(gateway, items=5) == [TAKEN, TAKEN, TAKEN, Answer(400, "bad"), TAKEN]


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "HITLINE_TOKEN"), (404, "no batch endpoint"), (405, "nothing can be sent"), (301, "nothing")],
)
async def test_an_error_that_repetition_cannot_fix_ends_it(status: int, text: str) -> None:
    with pytest.raises(GatewayError, match=text):
        await send(Gateway(error(status)))


async def test_another_server_is_not_taken_for_a_gateway() -> None:
    with pytest.raises(GatewayError, match="not a Hitline gateway"):
        await send(Gateway(lambda _: web.Response(status=202, text="thanks")))


async def test_giving_up() -> None:
    with pytest.raises(GatewayError, match=r"gave up after 0.1 s: HTTP 503.*run again to go on"):
        await send(Gateway(*[error(503)] * 50), give_up_s=0.1)


async def test_compressed() -> None:
    seen: list[tuple[str | None, bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Content-Encoding"), await request.read()))
        return result(1)

    app = web.Application()
    app.router.add_post("/api/ingest/server/pageviews", handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        sender = Sender(session, str(server.make_url("/")), compress=True, give_up_s=None, note=lambda _: None)
        assert await sender.send([b"1"]) == [TAKEN]
    assert seen == [("gzip", b"1")]  # aiohttp's server has undone it already

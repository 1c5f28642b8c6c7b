"""The way of a request by itself: in which order it is checked, and what is counted when."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from gateway.app import App
from gateway.authenticate import ClientAddress
from gateway.failures import FailureCounter
from gateway.ids import Ids
from gateway.intake import Intake
from gateway.pageviews import Pageviews
from gateway.publish import Publisher
from gateway.rate_limit import RateLimiter
from gateway.refusals import Refusals
from gateway.registry_age import RegistryAge
from gateway.replies import Reason, Rejected
from shared import metrics
from shared.clocks import Clocks
from shared.registry import Client, Site, token_hash

TOKEN = "a-token"
CLIENT = Client(b"c" * 16, "shop", "1000/hour")
SITE = Site(b"\1" * 16, "example.com", ("example.com",))
UNAVAILABLE = (
    Reason.BROKER_DOWN, Reason.BROKER_BLOCKED, Reason.BROKER_REFUSED, Reason.NO_QUEUE, Reason.BUFFER_FULL,
    Reason.UNKNOWN_FATE,
)  # fmt: skip
VALUE = {
    "url": "https://example.com/a",
    "timestamp": "2026-01-31T12:00:00Z",
    "visitor_ip": "192.0.2.1",
    "user_agent": "A/1",
}


class FakeRegistry:
    """One client, one site, and nothing while it is empty."""

    def __init__(self) -> None:
        self.empty = False
        self.granted = True

    def find_client(self, digest: str) -> Client | None:
        return CLIENT if digest == token_hash(TOKEN) and not self.empty else None

    def find_site(self, hostname: str) -> Site | None:
        return SITE if hostname in SITE.hostnames and not self.empty else None

    def may(self, *_: object) -> bool:
        return self.granted

    def has_grants(self, _: object) -> bool:
        return True


class FakePublisher:
    """Answers each submission when it is told to."""

    def __init__(self) -> None:
        self.submitted: list[Sequence[bytes]] = []
        self.refuses: Reason | None = None
        self._futures: list[asyncio.Future[None]] = []

    def submit(self, packed: Sequence[bytes]) -> asyncio.Future[None]:
        if self.refuses is not None:
            raise Rejected(self.refuses)
        self.submitted.append(packed)
        self._futures.append(asyncio.get_running_loop().create_future())
        return self._futures[-1]

    def answer(self, number: int, failure: Reason | None = None) -> None:
        if failure is None:
            self._futures[number].set_result(None)
        else:
            self._futures[number].set_exception(Rejected(failure))


class FakePoller:
    age_s = 0.0
    failing = False

    def used(self) -> bool:
        return False

    async def refresh(self) -> bool:
        return True


class Gateway:
    """The real parts around a registry and a publisher of the tests."""

    def __init__(self) -> None:
        self.registry, self.publisher, self.poller = FakeRegistry(), FakePublisher(), FakePoller()
        nothing: Any = None
        self.refusals = Refusals(nothing, nothing, lambda: 1, 60)
        limiter = RateLimiter("1000/hour")
        self.failures: FailureCounter = limiter._failures
        intake = Intake(
            cast("Any", self.registry),
            RegistryAge(self.poller, 3600),
            limiter,
            ClientAddress(()),
            Ids("secret"),
            Clocks(),
        )
        pageviews = Pageviews(intake, limiter, cast("Publisher", self.publisher), self.refusals)
        self.app = App({"/one": {"POST": pageviews.post_one}, "/many": {"POST": pageviews.post_many}})

    async def post(self, path: str, body: bytes, token: str = TOKEN, **headers: str) -> web.Response:
        loop = asyncio.get_running_loop()
        payload = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
        payload.feed_data(body)
        payload.feed_eof()
        sent = {"Authorization": f"Bearer {token}", "Content-Length": str(len(body)), **headers}
        request = make_mocked_request("POST", path, headers=sent, payload=payload).clone(remote="192.0.2.9")
        return cast("web.Response", await self.app.handle(request))

    def refused(self) -> dict[str, int]:
        return {refusal.outcome: count for refusal, count in self.refusals._counts.items()}


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def counted() -> Callable[[], dict[str, float]]:
    """Tell what was counted as accepted and as rejected, by reason, since the test began."""

    def now() -> dict[str, float]:
        rejected = {reason.label: metrics.REJECTED.labels(reason.label)._value.get() for reason in Reason}
        return {"accepted": metrics.ACCEPTED._value.get(), **rejected}

    before = now()
    return lambda: {name: number - before[name] for name, number in now().items() if number != before[name]}


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def body(answer: web.Response) -> Any:
    return json.loads(cast("bytes", answer.body))


ONE = json.dumps(VALUE).encode()


async def test_one_is_accepted_and_counted_when_it_is_confirmed_and_not_before(gateway: Gateway, counted: Any) -> None:
    answering = asyncio.create_task(gateway.post("/one", ONE))
    await turns()
    assert (len(gateway.publisher.submitted), answering.done(), counted()) == (1, False, {})
    gateway.publisher.answer(0)
    answer = await answering
    assert (answer.status, answer.body, counted()) == (202, None, {"accepted": 1})
    assert answer.headers["RateLimit-Remaining"] == "999"


@pytest.mark.parametrize("at_once", [True, False], ids=["refused", "failed"])
@pytest.mark.parametrize("reason", UNAVAILABLE, ids=lambda reason: reason.label)
async def test_each_503_of_one_has_its_own_text_and_label(
    gateway: Gateway, counted: Any, reason: Reason, at_once: bool
) -> None:
    if at_once:
        gateway.publisher.refuses = reason
    answering = asyncio.create_task(gateway.post("/one", ONE))
    await turns()
    if not at_once:
        gateway.publisher.answer(0, reason)
    answer = await answering
    assert (answer.status, body(answer)) == (503, {"message": reason.text})
    assert answer.headers["Retry-After"] == "1"
    assert counted() == {reason.label: 1}
    assert gateway.refused() == {f"refused:{reason.label}": 1}


async def test_the_items_of_a_batch_are_counted_as_their_messages_end(
    gateway: Gateway, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.message.MAX_PAGEVIEWS", 3)
    good, bad = json.dumps(VALUE), json.dumps({**VALUE, "visitor_ip": 7})
    answering = asyncio.create_task(gateway.post("/many", "\n".join([good, bad, *[good] * 7]).encode()))
    await turns()
    assert ([len(each) for each in gateway.publisher.submitted], counted()) == ([3, 3, 2], {})
    gateway.publisher.answer(0)
    gateway.publisher.answer(2, Reason.BROKER_REFUSED)
    await turns()
    assert counted() == {}
    gateway.publisher.answer(1, Reason.UNKNOWN_FATE)
    answer = await answering
    assert counted() == {"accepted": 3, "invalid": 1, "unknown_fate": 3, "broker_refused": 2}
    assert gateway.refused() == {
        "refused:invalid:visitor_ip": 1,
        "refused:unknown_fate": 3,
        "refused:broker_refused": 2,
    }
    told = body(answer)
    assert (answer.status, told["message"], told["accepted"], told["rejected"]) == (503, Reason.UNKNOWN_FATE.text, 3, 6)
    assert [(each["index"], each["status"]) for each in told["errors"]] == [
        (1, 400),
        *((each, 503) for each in range(4, 9)),
    ]
    assert [each["message"] for each in told["errors"]][1:] == [Reason.UNKNOWN_FATE.text] * 3 + [
        Reason.BROKER_REFUSED.text
    ] * 2


@pytest.mark.parametrize("reason", UNAVAILABLE, ids=lambda reason: reason.label)
async def test_a_batch_of_which_nothing_is_taken_says_why(gateway: Gateway, counted: Any, reason: Reason) -> None:
    gateway.publisher.refuses = reason
    answer = await gateway.post("/many", ONE * 2)
    assert (answer.status, body(answer)["message"], body(answer)["accepted"]) == (503, reason.text, 0)
    assert counted() == {reason.label: 2}


async def test_checks_run_in_their_order_and_each_refusal_names_its_reason(gateway: Gateway) -> None:
    """A request that is wrong in every way, mended one check after another."""
    wrong = json.dumps({**VALUE, "url": "https://nowhere.example/", "dnt": 1}).encode()
    gateway.registry.granted = False
    gateway.publisher.refuses = Reason.BROKER_DOWN

    async def reason(sent: bytes, token: str, **headers: str) -> tuple[int, str]:
        answer = await gateway.post("/one", sent, token, **headers)
        return answer.status, body(answer)["message"].partition(":")[0]

    too_long = {"Content-Length": "65537"}
    assert await reason(wrong, "wrong", **too_long) == (413, "body")
    assert await reason(wrong, "wrong") == (401, "Authorization")
    assert await reason(wrong, TOKEN) == (400, "dnt")
    elsewhere = json.dumps({**VALUE, "url": "https://nowhere.example/"}).encode()
    assert await reason(elsewhere, TOKEN) == (404, "url")
    assert await reason(ONE, TOKEN) == (403, "url")
    gateway.registry.granted = True
    assert await reason(ONE, TOKEN) == (503, "not taken")


async def test_a_batch_that_is_refused_for_its_key_is_charged_like_any_and_not_unpacked(gateway: Gateway) -> None:
    packed = gzip.compress(b"\n" * 2**20 + os.urandom(10 * 1024))
    refused = await gateway.post("/many", packed, **{"Content-Encoding": "gzip", "Idempotency-Key": "ä"})

    assert (refused.status, body(refused)["message"].partition(":")[0]) == (400, "Idempotency-Key")
    assert refused.headers["RateLimit-Remaining"] == str(1_000 - 1 - len(packed) // 1024)


@pytest.mark.parametrize("path", ["/one", "/many"])
async def test_an_empty_budget_is_429_before_the_body_and_retry_after_is_true(
    gateway: Gateway, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_700_000_400.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    whole = asyncio.create_task(gateway.post("/many", ONE * 1_000))
    await turns()
    while len(gateway.publisher._futures) < 2:
        await turns()
    gateway.publisher.answer(0)
    gateway.publisher.answer(1)
    assert (await whole).headers["RateLimit-Remaining"] == "0"

    refused = await gateway.post(path, b"not looked at")
    assert (refused.status, body(refused)) == (429, {"message": Reason.RATE_LIMITED.text})
    assert refused.headers["RateLimit-Remaining"] == "0"
    wait = int(refused.headers["Retry-After"])
    clock[0] += wait
    sent = ONE if path == "/one" else ONE * 1_000
    gateway.publisher.submitted.clear()
    again = asyncio.create_task(gateway.post(path, sent))
    await turns()
    while path == "/many" and len(gateway.publisher._futures) < 4 and not again.done():
        await turns()
    for number in range(2, len(gateway.publisher._futures)):
        gateway.publisher.answer(number)
    assert (await again).status == 202
    # A single one need not wait for as long as a whole batch.
    assert (wait < 3600) is (path == "/one")


@pytest.mark.parametrize(
    ("token", "empty", "age_s", "status"),
    [
        (TOKEN, True, 0, 503),
        ("wrong", True, 0, 503),
        (TOKEN, False, 400, 503),
        ("wrong", False, 400, 503),
        ("wrong", False, 0, 401),
    ],
)
async def test_only_a_token_that_is_surely_wrong_counts_as_a_failure(
    gateway: Gateway, token: str, empty: bool, age_s: float, status: int
) -> None:
    """While the registry is empty or old, a valid client must not use up what its address may fail."""
    gateway.registry.empty = empty
    gateway.poller.age_s = age_s
    answers = [await gateway.post("/one", b"{}", token) for _ in range(101)]
    assert {answer.status for answer in answers[:100]} == {status}
    assert answers[100].status == (429 if status == 401 else 503)
    if status == 503:
        expected = Reason.OLD_REGISTRY if age_s else Reason.NO_REGISTRY
        assert {body(answer)["message"] for answer in answers} == {expected.text}
        assert gateway.failures.window("192.0.2.9")[2] == 0


async def test_without_a_token_nothing_is_counted_as_a_failure(gateway: Gateway) -> None:
    answers = [await gateway.post("/one", b"{}", "") for _ in range(101)]
    assert {(answer.status, answer.headers["WWW-Authenticate"]) for answer in answers} == {
        (401, 'Bearer realm="hitline"')
    }

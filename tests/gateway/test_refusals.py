"""Refused pageviews are seen: in the log, a metric, `outcomes`, and `hitline client list`."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import pytest

from gateway.broker import BrokerConnection, NotPublished, PublishUncertain
from gateway.refusals import Refusals
from gateway.replies import Reason
from shared import refusals
from shared.refusals import Refusal
from shared.registry import Client
from shared.seal import Sealer
from tests import http, services
from tests.services import Service, System, pageview

CLIENT = Client(b"c" * 16, "shop")


class FakeBroker:
    """Keeps what is published, or fails."""

    def __init__(self) -> None:
        self.counts = Counter[Refusal]()
        self.error: Exception | None = None

    async def publish(self, message: Any) -> None:
        if self.error is not None:
            raise self.error
        self.counts += Counter(refusals.read(message.headers))


@pytest.fixture
def queue() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def counted(queue: FakeBroker) -> Refusals:
    return Refusals(cast("BrokerConnection", queue), Sealer([b"k" * 32]), lambda: 1, 60)


def totals(queue: FakeBroker) -> dict[str, int]:
    return {refusal.outcome: count for refusal, count in queue.counts.items()}


async def test_counts_go_by_reason_and_field_and_rules_are_logged_once(
    queue: FakeBroker, counted: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (3, 4):
        counted.count(CLIENT, Reason.INVALID, "visitor_ip: must be an address; dnt: must be true or false", number)
    counted.count(CLIENT, Reason.RATE_LIMITED, Reason.RATE_LIMITED.text, 1)

    with caplog.at_level(logging.WARNING):
        await counted.flush()
        await counted.flush()

    assert totals(queue) == {"refused:invalid:visitor_ip": 7, "refused:rate_limited": 1}
    assert caplog.messages == [
        "client shop: 7 pageviews refused (400): visitor_ip: must be an address",
        f"client shop: 1 pageviews refused (429): {Reason.RATE_LIMITED.text}",
    ]


async def test_what_was_not_published_is_kept_and_what_is_uncertain_is_not_repeated(
    queue: FakeBroker, counted: Refusals
) -> None:
    counted.count(CLIENT, Reason.FORBIDDEN, Reason.FORBIDDEN.text, 5)
    queue.error = NotPublished(Reason.BROKER_DOWN)
    await counted.flush()
    queue.error = None
    await counted.flush()
    assert totals(queue) == {"refused:forbidden:url": 5}

    counted.count(CLIENT, Reason.FORBIDDEN, Reason.FORBIDDEN.text, 5)
    queue.error = PublishUncertain()
    await counted.flush()
    queue.error = None
    await counted.flush()
    assert totals(queue) == {"refused:forbidden:url": 5}


async def test_however_many_clients_and_rules_there_are_memory_and_log_are_bounded(
    queue: FakeBroker, counted: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(7_000):
        client = Client(number.to_bytes(16, "big"), f"client {number}")
        counted.count(client, Reason.INVALID, f"unknown {number}: wrong", 1)

    with caplog.at_level(logging.WARNING):
        await counted.flush()

    assert len(queue.counts) == 5_000
    assert len(caplog.messages) == 1_001
    assert len({message.partition(":")[0] for message in caplog.messages}) == 201


@pytest.mark.parametrize(
    "text", ["", "{", "5", "[5]", "[[1,2]]", '[[0,"zz","a","b",1]]', f'[[-1,"{"00" * 16}","a","b",1]]', None, 5]
)
def test_a_header_that_can_not_be_read_counts_nothing(text: Any) -> None:
    assert refusals.read({refusals.HEADER: text}) == {}


def test_a_header_is_read_as_it_was_written() -> None:
    counts = {
        Refusal(1_780_000_020, uuid.uuid4().bytes, "invalid", "url"): 7,
        Refusal(0, bytes(16), "forbidden", ""): 1,
    }

    assert refusals.read({refusals.HEADER: refusals.write(counts)}) == counts


@pytest.fixture(scope="module")
def token(system: System) -> str:
    return services.add_client(system.env, "refused", "example.com")


@pytest.fixture(scope="module")
def gateway(system: System, token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A second gateway, which reports refused pageviews quickly.

    It begins without a copy of the registry, so that it is ready only once it knows the client with its grant: what
    one that gets to know them meanwhile refuses would be counted as well.
    """
    directory = tmp_path_factory.mktemp("refusals")
    own = {"HTTP_PORT": "0", "REFUSALS_SECONDS": "0.3", "STATE_DIR": str(directory / "state")}
    env = {**system.env, **{f"HITLINE_{name}": value for name, value in own.items()}}
    with services.service("gateway", env, directory / "gateway.log") as running:
        services.wait_for(lambda: http.ready(running.admin_port))
        yield running


def test_an_operator_sees_what_was_refused_of_whom(system: System, gateway: Service, token: str) -> None:
    def post(body: Any) -> http.Answer:
        return http.request(gateway.port, path=http.BATCH_ENDPOINT, body=body, token=token)

    assert post([pageview(dnt=True)]).status == 202
    body = [pageview(dnt=True)] * 5 + [pageview(visitor_ip="203.0.113.99x")] * 3 + [pageview(url="https://no.example/")]
    assert post(body).json["rejected"] == 4
    assert post(b"[{").status == 400
    assert http.request(gateway.port, body=pageview(screen_width="5"), token=token).status == 400

    def listed() -> Any:
        clients = json.loads(services.hitline(system.env, "client", "list", "--json").stdout)
        found = next(client for client in clients if client["name"] == "refused")
        return found if (found["accepted_last_hour"], found["refused_last_hour"]) == (6, 6) else None

    client = services.wait_for(listed)
    sql = f"SELECT outcome, sum(pageviews) AS number FROM hitline.outcomes WHERE client_id = '{client['client_id']}'"
    found = {row["outcome"]: int(row["number"]) for row in services.rows(system.clickhouse, f"{sql} GROUP BY outcome")}
    assert found == {
        "dnt": 6,
        "refused:invalid:visitor_ip": 3,
        "refused:invalid:body": 1,
        "refused:invalid:screen_width": 1,
        "refused:unknown_site:url": 1,
    }
    text = http.request(gateway.admin_port, "GET", "/metrics").body.decode()
    assert 'hitline_refused_pageviews_total{client="refused",reason="invalid"} 5.0' in text
    assert re.search(r"client refused: 3 pageviews refused \(400\): visitor_ip: must be", gateway.text())
    assert "203.0.113.99" not in gateway.text()
    table = services.hitline(system.env, "client", "list").stdout
    assert re.search(r"^refused\s+example\.com\s+1000000/second\s+6\s+6 ", table, re.MULTILINE)
    assert services.hitline(system.env, "reconcile", "--client", "refused", "--accepted", "6").returncode == 0

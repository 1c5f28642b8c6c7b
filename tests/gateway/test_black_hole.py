"""A broker that is there and says nothing: every request is answered, in bounded time, and none with 202."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from yarl import URL

from tests import http, load, services
from tests.proxy import Proxy, proxy
from tests.services import Service, System

CONFIRM_S = 1.0


@pytest.fixture(scope="module")
def behind(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Proxy]]:
    """A second gateway that reaches the broker through a proxy."""
    url = URL(system.broker.amqp_url)
    assert url.port is not None
    with proxy(url.port) as hole:
        env = {
            **system.env, "HITLINE_HTTP_PORT": "0", "HITLINE_AMQP_URL": str(url.with_port(hole.port)),
            "HITLINE_CONFIRM_SECONDS": str(CONFIRM_S),
        }  # fmt: skip
        with services.service("gateway", env, tmp_path_factory.mktemp("behind") / "gateway.log") as gateway:
            services.wait_for(lambda: http.ready(gateway.admin_port))
            yield gateway, hole


async def test_every_request_is_503_within_the_timeout_and_none_202(
    behind: tuple[Service, Proxy], system: System
) -> None:
    gateway, hole = behind
    hole.silence()
    began = time.monotonic()
    pageviews = [services.pageview(**services.ids()) for _ in range(300)]

    ledger = await load.post_all(gateway.port, system.token, pageviews, in_flight=100)

    assert time.monotonic() - began < 30  # and not for as long as the broker is silent
    assert ledger.accepted == []
    assert len(ledger.unknown) + len(ledger.refused) == 300
    assert {status for status, _ in ledger.refused} <= {503}
    assert ledger.unknown, "those that were published before the silence was noticed are of unknown fate"

    hole.speak()
    await asyncio.to_thread(
        services.wait_for,
        lambda: http.request(gateway.port, body=services.pageview(), token=system.token).status == 202,
    )


def test_requests_are_refused_at_once_while_the_broker_can_not_be_reached(
    behind: tuple[Service, Proxy], system: System
) -> None:
    gateway, hole = behind
    hole.silence()
    try:
        assert post(gateway, system).status == 503
        services.wait_for(lambda: not http.ready(gateway.admin_port))
        took_s = []
        for _ in range(5):
            began = time.monotonic()
            answer = post(gateway, system)
            took_s.append(time.monotonic() - began)
            assert (answer.status, answer.message.startswith("not taken")) == (503, True)
        assert min(took_s) < CONFIRM_S / 2, "each waits for something"
    finally:
        hole.speak()
    services.wait_for(lambda: http.ready(gateway.admin_port))


def post(gateway: Service, system: System) -> http.Answer:
    return http.request(gateway.port, body=services.pageview(), token=system.token)

"""One client's limit over two gateways that share a Redis, and what happens when that is gone."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator

import pytest

from gateway.rate_limit import RateLimiter, with_burst
from shared.registry import Client
from tests import http, load, services
from tests.redis import RedisProcess
from tests.services import Service, System

#: Of a client that is too slow to be given the burst of a whole batch.
RATE = 400
BURST = with_burst(f"{RATE}/second").amount


@pytest.fixture(scope="module")
def pair(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Service], RedisProcess, str]]:
    redis = RedisProcess(tmp_path_factory.mktemp("redis"))
    redis.start()
    token = services.add_client(system.env, "shared", "example.com", rate=f"{RATE}/second")
    env = {**system.env, "HITLINE_HTTP_PORT": "0", "HITLINE_RATE_LIMIT_STORAGE": redis.url}
    gateways = [Service("gateway", env, system.logs / f"shared-{number}.log").start() for number in range(2)]
    try:
        for gateway in gateways:
            services.wait_for(lambda gateway=gateway: http.ready(gateway.admin_port))
        yield gateways, redis, token
    finally:
        redis.kill()
        for gateway in gateways:
            gateway.end()


async def accepted_in(
    seconds: float, gateways: list[Service], token: str, connections: int = 16
) -> tuple[int, int, float]:
    """Post to all gateways as fast as they answer, from so many connections each.

    Returns how many were accepted, how many posted, and within how many seconds: the last answers may be late.
    """
    ledger = load.Ledger()
    began = time.monotonic()
    end = began + seconds

    async def poster(client: load.aiohttp.ClientSession) -> None:
        while time.monotonic() < end:
            status = await load.post(client, load.ENDPOINT, services.pageview(dnt=True), ledger)
            if status == 429:
                await asyncio.sleep(0.01)

    sessions = [load.session(gateway.port, token, connections) for gateway in gateways]
    async with sessions[0] as one, sessions[1] as other:
        await asyncio.gather(*(poster(client) for client in (one, other) for _ in range(connections)))
    assert {status for status, _ in ledger.refused} <= {429}
    return len(ledger.accepted), len(ledger.accepted) + len(ledger.refused), time.monotonic() - began


async def test_two_gateways_keep_one_limit(pair: tuple[list[Service], RedisProcess, str]) -> None:
    gateways, _, token = pair
    await asyncio.sleep(2.5)

    accepted, posted, took_s = await accepted_in(4, gateways, token)

    # The burst that a fresh client has, and then the rate; a slow machine may not come to post so many.
    assert min(posted, 3.5 * RATE) <= accepted <= (took_s + 0.1) * RATE + BURST


def fallen_back(gateway: Service) -> int:
    """How often a gateway has begun to count for itself, but for a machine so busy that Redis answered too late."""
    return len(re.findall(r"out of reach \((?!TimeoutError)", gateway.text()))


async def test_more_requests_than_redis_connections_do_not_cause_the_fallback(
    pair: tuple[list[Service], RedisProcess, str],
) -> None:
    gateways, _, token = pair

    await accepted_in(4, gateways, token, connections=200)

    assert [fallen_back(gateway) for gateway in gateways] == [0, 0]


async def test_a_restart_of_redis_is_recovered_from_at_once(pair: tuple[list[Service], RedisProcess, str]) -> None:
    gateways, redis, token = pair
    await accepted_in(1, gateways, token, connections=60)  # leaves that many connections, which the restart ends
    before = [fallen_back(gateway) for gateway in gateways]
    redis.kill()
    redis.start()

    await accepted_in(2, gateways, token, connections=60)

    assert [fallen_back(gateway) for gateway in gateways] == before


@pytest.mark.full
async def test_the_sum_of_60_seconds_is_within_2_percent(pair: tuple[list[Service], RedisProcess, str]) -> None:
    gateways, _, token = pair
    await accepted_in(4, gateways, token)  # spends the burst

    accepted, _, _ = await accepted_in(60, gateways, token)

    print(f"{accepted} accepted of {60 * RATE}")
    assert abs(accepted - 60 * RATE) <= 0.02 * 60 * RATE


async def test_without_redis_each_gateway_counts_for_itself_and_ingest_goes_on(
    pair: tuple[list[Service], RedisProcess, str],
) -> None:
    gateways, redis, token = pair
    redis.kill()

    accepted, posted, took_s = await accepted_in(4, gateways, token)

    assert min(posted, 4 * RATE) <= accepted <= 2 * ((took_s + 0.1) * RATE + BURST)
    assert "hitline_rate_limit_fallback 1.0" in http.request(gateways[0].admin_port, "GET", "/metrics").body.decode()
    redis.start()
    await asyncio.to_thread(services.wait_for, lambda: back(gateways[0], token))


async def test_a_window_in_its_last_millisecond_does_not_count_whole(
    pair: tuple[list[Service], RedisProcess, str],
) -> None:
    """Redis neither shifts nor forgets it then: who waited as told until just that moment would be told to wait again.

    A budget is spent whole and asked for a half two windows later, by 200 clients so that some meet the millisecond.
    """
    _, redis, _ = pair
    window_s = with_burst(f"{RATE}/second").get_expiry()
    limiter = RateLimiter(f"{RATE}/second", redis.url)
    clients = [Client(number.to_bytes(16, "big"), "client") for number in range(200)]
    began = []
    for client in clients:
        began.append(time.monotonic())
        assert (await limiter.charge(client, BURST)).remaining == 0

    for number, (client, start) in enumerate(zip(clients, began, strict=True)):
        moment = start + 2 * window_s - 0.001 + number % 20 * 0.0001
        await asyncio.sleep(max(0.0, moment - 0.001 - time.monotonic()))
        while time.monotonic() < moment:
            continue
        await limiter.charge(client, BURST // 2)


def back(gateway: Service, token: str) -> bool:
    http.request(gateway.port, body=services.pageview(dnt=True), token=token)
    return "hitline_rate_limit_fallback 0.0" in http.request(gateway.admin_port, "GET", "/metrics").body.decode()

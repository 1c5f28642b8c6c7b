"""What the gateway's memory comes to with many requests at once, and with many of the largest batches."""

from __future__ import annotations

import asyncio
import collections
import json
import resource
import time
from typing import Final

from tests import http, load, parts, services
from tests.bench.sizes import Sizes
from tests.bench.table import Table
from tests.services import Service, System

_BATCH_BYTES: Final = 16 * 2**20
_MOST_ITEMS: Final = 50_000


def run(system: System, table: Table, sizes: Sizes) -> None:
    """Measure and add the rows."""
    token = services.add_client(system.env, "many", "example.com", rate="1000000000/second")
    services.wait_for(lambda: system.post(token=token, dnt=True).status == 202)
    number = sizes.in_flight
    table.progress(f"{number} requests at once")
    peak = parts.run_apart(lambda: at_once(system.gateway, token, number))
    table.ratio(f"gateway, {number:,} requests in flight", peak, 250, at_most=True, form="{:.0f} MiB")
    with services.service("gateway", {**system.env, "HITLINE_HTTP_PORT": "0"}, system.logs / "large.log") as gateway:
        services.wait_for(lambda: http.ready(gateway.admin_port))
        table.progress(f"{sizes.large_batches} batches of 16 MiB at once")
        peak = parts.run_apart(lambda: large_batches(gateway, token, sizes.large_batches))
    table.ratio(f"gateway, {sizes.large_batches} batches of 16 MiB at once", peak, 450, at_most=True, form="{:.0f} MiB")


async def at_once(gateway: Service, token: str, number: int) -> float:
    """Post on so many connections at once; returns the highest resident memory in MiB."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * number + 1000), most))
    connections = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(number)]
    body = json.dumps(services.pageview(dnt=True)).encode()
    request = (
        f"POST {http.ENDPOINT} HTTP/1.1\r\nHost: x\r\nX-API-Key: {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(request)
        return (await reader.readline()).split()[1]

    peak = 0.0
    try:
        answers = [asyncio.create_task(ask(*connection)) for connection in connections]
        while not all(answer.done() for answer in answers):
            peak = max(peak, gateway.resident_mib())
            await asyncio.sleep(0.05)
        assert {answer.result() for answer in answers} == {b"202"}
    finally:
        for _, writer in connections:
            writer.close()
    return max(peak, gateway.resident_mib())


async def large_batches(gateway: Service, token: str, number: int) -> float:
    """Post so many batches of usual pageviews at once; returns the highest resident memory in MiB."""
    item = json.dumps(services.pageview(dnt=True)).encode() + b"\n"
    body = item * min(_MOST_ITEMS, _BATCH_BYTES // len(item))
    body += b" " * (_BATCH_BYTES - len(body))
    async with load.session(gateway.port, token, number) as client:

        async def post() -> int:
            async with client.post(http.BATCH_ENDPOINT, data=body) as answer:
                await answer.read()
                return answer.status

        batches = [asyncio.create_task(post()) for _ in range(number)]
        peak, deadline = 0.0, time.monotonic() + 300
        while not all(batch.done() for batch in batches) and time.monotonic() < deadline:
            peak = max(peak, gateway.resident_mib())
            await asyncio.sleep(0.02)
        answers = collections.Counter(batch.result() for batch in batches)
    assert set(answers) <= {202, 503}, answers
    assert answers[202]
    return peak

"""Posting many pageviews with aiohttp's client, a bounded number in flight, and remembering every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from tests.http import ENDPOINT


@dataclass
class Ledger:
    """What was posted and how it was answered; `broken` had no answer at all, so their fate is unknown."""

    accepted: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[dict[str, Any]] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)

    @property
    def page_ids(self) -> set[str]:
        return {pageview["page_id"] for pageview in self.accepted}


async def post_all(
    port: int, token: str, pageviews: Iterable[dict[str, Any]], in_flight: int, path: str = ENDPOINT
) -> Ledger:
    """Post each pageview once from `in_flight` connections."""
    ledger = Ledger()
    source = iter(pageviews)
    async with session(port, token, in_flight) as client:

        async def poster() -> None:
            for pageview in source:
                await post(client, path, pageview, ledger)

        await asyncio.gather(*(poster() for _ in range(in_flight)))
    return ledger


def session(port: int, token: str, connections: int) -> aiohttp.ClientSession:
    """Return a client of the gateway on `port`, to be used as a context manager."""
    return aiohttp.ClientSession(
        f"http://127.0.0.1:{port}",
        connector=aiohttp.TCPConnector(limit=connections),
        headers={"Authorization": f"Bearer {token}"},
    )


async def post(client: aiohttp.ClientSession, path: str, pageview: dict[str, Any], ledger: Ledger) -> int:
    """Post one pageview and note its answer; returns the status, 0 for none."""
    try:
        async with client.post(path, data=orjson.dumps(pageview)) as answer:
            text = await answer.text()
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError):
        ledger.unknown.append(pageview)
        return 0
    if status == 202:
        ledger.accepted.append(pageview)
    elif status == 503 and orjson.loads(text)["message"].startswith("unknown"):
        ledger.unknown.append(pageview)
    else:
        ledger.refused.append((status, text))
    return status

"""The load of a soak: single pageviews and batches at a steady rate, a tenth of the batches with wrong values.

Runs as a process of its own: `python -m tests.bench.soak_load PORT TOKEN SECONDS RATE`; RATE is pageviews a second, 0
for as many as are answered.  Prints a line of JSON a second, and at the end one with the ledger.  Every pageview has a
number, and only counts and sums of numbers are kept, so that hours of it take no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import uvloop

from tests.http import BATCH_ENDPOINT, ENDPOINT

CONNECTIONS: Final = 48
#: Of so many requests one is a batch of so many pageviews.
REQUESTS: Final = 10
ITEMS: Final = 50
PAGEVIEWS: Final = REQUESTS - 1 + ITEMS
#: Of so many batches one has so many wrong pageviews.
BATCHES: Final = 10
WRONG: Final = 5
_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0"
_ANSWER_S: Final = aiohttp.ClientTimeout(total=30)


@dataclass
class Ledger:
    """What became of the pageviews, by their numbers."""

    accepted: int = 0
    accepted_sum: int = 0
    rejected: int = 0
    refused: int = 0
    unknown: list[int] = field(default_factory=list)

    def note(self, number: int, status: int, message: str) -> None:
        """Count one pageview by its answer; status 0: there was none."""
        if status == 202:
            self.accepted += 1
            self.accepted_sum += number
        elif status == 0 or message.startswith("unknown"):
            self.unknown.append(number)
        elif status == 503:
            self.refused += 1
        else:
            self.rejected += 1


class Load:
    """Posts until its time is over."""

    def __init__(self, port: int, token: str, seconds: float, rate: float) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._seconds = seconds
        self._rate = rate
        self._run = uuid.uuid4().int >> 64 << 64
        self._number = 0
        self._requests = 0
        self._batches = 0
        self._second: list[float] = []
        self._statuses: Counter[int] = Counter()
        self.ledger = Ledger()

    async def run(self) -> None:
        """Post for the time given, and print."""
        began = time.monotonic()
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        async with aiohttp.ClientSession(
            self._base, connector=connector, headers=self._headers, timeout=_ANSWER_S
        ) as client:
            telling = asyncio.create_task(self._tell())
            await asyncio.gather(*(self._post_on(client, began) for _ in range(CONNECTIONS)))
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling

    async def _post_on(self, client: aiohttp.ClientSession, began: float) -> None:
        while (now := time.monotonic() - began) < self._seconds:
            if self._rate and (early := self._requests * PAGEVIEWS / REQUESTS / self._rate - now) > 0:
                await asyncio.sleep(early)
            await self._post(client)

    async def _post(self, client: aiohttp.ClientSession) -> None:
        self._requests += 1
        if self._requests % REQUESTS:
            numbers, path = [self._next()], ENDPOINT
            body = self._pageview(numbers[0])
        else:
            numbers, path = [self._next() for _ in range(ITEMS)], f"{BATCH_ENDPOINT}?errors=all"
            self._batches += 1
            wrong = WRONG if self._batches % BATCHES == 0 else 0
            body = "\n".join(self._pageview(number, wrong=at < wrong) for at, number in enumerate(numbers))
        began = time.perf_counter()
        try:
            async with client.post(path, data=body.encode()) as answer:
                status, text = answer.status, await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            status, text = 0, b""
            await asyncio.sleep(0.1)
        self._second.append(time.perf_counter() - began)
        self._statuses[status] += 1
        answered: Any = json.loads(text) if text else {}
        errors = {each["index"]: each for each in answered.get("errors", ())}
        for at, number in enumerate(numbers):
            error = errors.get(at)
            if error is not None:
                self.ledger.note(number, error["status"], error["message"])
            else:
                self.ledger.note(number, status, answered.get("message", ""))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _pageview(self, number: int, *, wrong: bool = False) -> str:
        fields = {
            "url": f"https://example.com/page/{number % 500}",
            "timestamp": datetime.now(UTC).isoformat(),
            "visitor_ip": f"81.2.{number % 200}.{number // 200 % 250}" if not wrong else "nowhere",
            "user_agent": _AGENT.format(60 + number % 100),
            "page_id": str(uuid.UUID(int=self._run | number)),
            "session_id": str(uuid.UUID(int=self._run | number // 5)),
        }
        return json.dumps(fields)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(1)
            ordered, self._second = sorted(self._second), []
            p99_ms = ordered[len(ordered) * 99 // 100] * 1000 if ordered else 0.0
            line = {"accepted": self.ledger.accepted, "p99_ms": p99_ms, "statuses": self._statuses}
            print(json.dumps(line), flush=True)
            self._statuses = Counter()


def main() -> None:
    """Post, and print the ledger."""
    load = Load(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
    uvloop.run(load.run())
    print(json.dumps({"ledger": vars(load.ledger)}), flush=True)


if __name__ == "__main__":
    main()

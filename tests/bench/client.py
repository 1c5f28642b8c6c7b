"""A closed-loop HTTP load generator that costs little: prepared requests, and answers recognised by their first bytes.

Runs as a process of its own (`python -m tests.bench.client PORT CONNECTIONS SECONDS [RATE] < requests`), so as not to
share an interpreter with what it measures; prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, deque
from itertools import cycle

import uvloop


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends the next request when the last one is answered."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._load.connected(self)

    def send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._load.requests))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        at = head.find(b"Content-Length: ")
        length = int(head[at + 16 : head.find(b"\r", at) if head.find(b"\r", at) > 0 else end]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._buffer = b""
        self._load.answered(self, head[9:12], time.perf_counter() - self._sent_at)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.statuses["lost"] += 1


class Load:
    """Sends for a time, as fast as answers come or at a given rate, and counts."""

    def __init__(self, requests: list[bytes], seconds: float, rate: float) -> None:
        self.requests = cycle(requests)
        self.statuses: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._seconds = seconds
        self._rate = rate
        #: The longest idle first: a connection that says nothing for long is closed by the gateway.
        self._idle: deque[Connection] = deque()
        self._end = float("inf")
        self._warm = 0.0
        self.late = 0

    async def run(self, port: int, connections: int) -> dict[str, object]:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
        self._warm = time.perf_counter() + min(1.0, self._seconds / 4)
        self._end = self._warm + self._seconds
        if self._rate:
            await self._pace()
        else:
            for connection in self._idle:
                connection.send()
            await asyncio.sleep(self._end - time.perf_counter())
        await asyncio.sleep(0.5)
        return self._result()

    async def _pace(self) -> None:
        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter()) < self._end:
            due = int((now - began) * self._rate) - sent
            while due > 0 and self._idle:
                self._idle.popleft().send()
                sent += 1
                due -= 1
            self.late += due
            await asyncio.sleep(0.002)

    def connected(self, connection: Connection) -> None:
        self._idle.append(connection)

    def answered(self, connection: Connection, status: bytes, seconds: float) -> None:
        now = time.perf_counter()
        if self._warm <= now < self._end:
            self.statuses[status.decode()] += 1
            self._latencies.append(seconds)
        if self._rate:
            self._idle.append(connection)
        elif now < self._end:
            connection.send()

    def _result(self) -> dict[str, object]:
        ordered = sorted(self._latencies) or [0.0]
        return {
            "statuses": dict(self.statuses),
            "per_second": len(self._latencies) / self._seconds,
            "p50_ms": ordered[len(ordered) // 2] * 1000,
            "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
            "max_ms": ordered[-1] * 1000,
        }


def main() -> None:
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    rate = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    parts = sys.stdin.buffer.read().split(b"\0\0\0\0")
    print(json.dumps(uvloop.run(Load(parts, seconds, rate).run(port, connections))))


if __name__ == "__main__":
    main()

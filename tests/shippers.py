"""Clients that batch, retry and drop as log shippers do at their defaults."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from tests.http import BATCH_ENDPOINT


@dataclass(frozen=True)
class Kind:
    """How a shipper behaves."""

    #: Largest bytes of a chunk, in turn: a shipper sends what it has when its time is up, at most its limit.
    chunk_bytes: tuple[int, ...]
    encode: Callable[[Sequence[bytes]], bytes]
    #: It reads no more of a response, and takes one that is longer for a failure; 0: all of it.
    read_bytes: int


#: Chunks of up to 2 MB; drops every 4xx but 408 and 429; `format json_lines`.
FLUENT_BIT = Kind((60_000, 400_000, 2_000_000), b"\n".join, 4096)
#: Batches of 10 MB; the same statuses; a JSON array.
VECTOR = Kind((500_000, 10_000_000), lambda lines: b"[" + b",".join(lines) + b"]", 0)


@dataclass
class Shipped:
    """What a shipper has come through: attempts by status (0: no answer), and lines that it dropped."""

    attempts: list[int] = field(default_factory=list)
    dropped: int = 0


def lines_of(items: Sequence[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(item).encode() for item in items]


def ship(kind: Kind, port: int, token: str, lines: Sequence[bytes], faults: dict[int, Callable[[], None]]) -> Shipped:
    """Send all lines; `faults` happen to the first attempt of the chunk of that number, once its body is sent."""
    shipped = Shipped()
    for number, chunk in enumerate(chunks(lines, kind.chunk_bytes)):
        body = kind.encode(chunk)
        fault = faults.pop(number, None)
        for attempt in range(200):
            status = _send(kind, port, token, body, fault if attempt == 0 else None)
            shipped.attempts.append(status)
            if 200 <= status < 300:
                break
            if 400 <= status < 500 and status not in (408, 429):
                shipped.dropped += len(chunk)
                break
            time.sleep(0.2)
        else:
            raise TimeoutError(f"chunk {number} is repeated for ever: {shipped.attempts[-3:]}")
    assert not faults, "fewer chunks than faults"
    return shipped


def chunks(lines: Sequence[bytes], sizes: Sequence[int]) -> Iterator[list[bytes]]:
    """Cut by bytes."""
    limits = cycle(sizes)
    chunk: list[bytes] = []
    size, limit = 2, next(limits)
    for line in lines:
        if chunk and size + len(line) + 1 > limit:
            yield chunk
            chunk, size, limit = [], 2, next(limits)
        chunk.append(line)
        size += len(line) + 1
    if chunk:
        yield chunk


def _send(kind: Kind, port: int, token: str, body: bytes, fault: Callable[[], None] | None) -> int:
    """Return the status that the shipper acts by, 0 for none and for a response that it can't read to its end."""
    head = f"POST {BATCH_ENDPOINT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n" + body)
            if fault is not None:
                fault()
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            read = answer.read()
    except (OSError, http.client.HTTPException):
        return 0
    size = len(f"HTTP/1.1 {answer.status} {answer.reason}\r\n") + len(str(answer.headers)) + 2 + len(read)
    return 0 if kind.read_bytes and size > kind.read_bytes else answer.status

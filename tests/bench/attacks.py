"""What one client can do to keep others out, each kind as a function that goes on until its time is over.

Runs as a process of its own (`python -m tests.bench.attacks KIND PORT TOKEN SECONDS`), so as not to share an
interpreter with the client that is measured beside it.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import json
import resource
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from tests.http import BATCH_ENDPOINT, ENDPOINT

MIB: Final = 2**20
_TIMEOUT_S: Final = 10.0
_ADDRESS: Final = "127.0.0.2"
#: The hostname of the attacker's own site.
HOSTNAME: Final = "hostile.example"

Attack = Callable[[int, str, float], None]


def head(path: str, length: int, token: str, *more: str) -> bytes:
    """Return a POST's head."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"X-API-Key: {token}", f"Content-Length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def connect(port: int, timeout_s: float = _TIMEOUT_S) -> socket.socket:
    """Open a connection from an address that is not the other client's."""
    return socket.create_connection(("127.0.0.1", port), timeout_s, (_ADDRESS, 0))


@contextlib.contextmanager
def opened(port: int, number: int, data: bytes, timeout_s: float = _TIMEOUT_S) -> Iterator[list[socket.socket]]:
    """Open connections and send `data` on each, as far as it is taken."""
    connections: list[socket.socket] = []
    try:
        for _ in range(number):
            with contextlib.suppress(OSError):  # those that are refused are closed
                connections.append(connect(port, timeout_s))
                connections[-1].sendall(data)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def left_s(until: float) -> float:
    """Return the seconds until the attack has to end."""
    return max(0.0, until - time.monotonic())


def pageview(**fields: Any) -> dict[str, Any]:
    """Return a valid pageview of the attacker's site."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    usual = {"url": f"https://{HOSTNAME}/", "timestamp": now, "visitor_ip": "198.51.100.23", "user_agent": "x"}
    return {**usual, **fields}


def lines(pageviews: Sequence[dict[str, Any]]) -> bytes:
    """Return pageviews as NDJSON."""
    return "\n".join(map(json.dumps, pageviews)).encode()


def post(port: int, path: str, token: str, body: bytes, *more: str) -> None:
    """Post one request and wait for its answer, whatever that is."""
    with contextlib.suppress(OSError), connect(port) as connection:
        connection.sendall(head(path, len(body), token, "Connection: close", *more) + body)
        while connection.recv(65_536):
            pass


def hostile_hostnames(port: int, token: str, until: float) -> None:
    """Labels that can't be converted, in `url` and `referrer`; each is new to every cache."""
    number = 0
    while left_s(until):
        salt = "".join(chr(0x4E00 + (7 * n + number) % 20_000) for n in range(254))
        number += 1
        referrers = [pageview(referrer=f"https://{salt[:200]}{n}/") for n in range(300)]
        post(port, BATCH_ENDPOINT, token, lines(referrers))
        post(port, BATCH_ENDPOINT, token, lines([pageview(url=f"https://{salt}{n}/") for n in range(300)]))


def batches_that_never_end(port: int, token: str, until: float) -> None:
    """Batches that lack their last bytes, on many connections."""
    while left_s(until):
        with opened(port, 32, head(BATCH_ENDPOINT, 4 * MIB, token) + b" " * (4 * MIB - 20)):
            time.sleep(min(25.0, left_s(until)))


def refused_batches(port: int, token: str, until: float) -> None:
    """Small gzip bodies that unpack to megabytes of what is refused."""
    kinds = [b"[" + b"[]," * (4 * MIB // 3) + b"[]]", b"{}," * (4 * MIB // 3), b"[NaN," + b" " * (4 * MIB) + b"{}]"]
    packed = [gzip.compress(kind) for kind in kinds]
    while left_s(until):
        for body in packed:
            post(port, BATCH_ENDPOINT, token, body, "Content-Encoding: gzip")


def months(port: int, token: str, until: float) -> None:
    """Pageviews of every month since 1990: each is a partition."""
    today = datetime.datetime.now(datetime.UTC).date()
    first = [datetime.date(1990 + n // 12, n % 12 + 1, 1) for n in range((today.year - 1989) * 12)]
    past = [f"{day}T00:00:00Z" for day in first if day <= today]
    while left_s(until):
        post(port, BATCH_ENDPOINT, token, lines([pageview(timestamp=moment) for moment in past]))


def parallel_gzip_batches(port: int, token: str, until: float) -> None:
    """Fifty batches at once, each of 27 KB that unpack to 4 MiB."""
    item = json.dumps(pageview(dnt=True)).encode() + b"\n"
    packed = gzip.compress(item * (4 * MIB // len(item)))

    def go_on() -> None:
        while left_s(until):
            post(port, BATCH_ENDPOINT, token, packed, "Content-Encoding: gzip")

    threads = [threading.Thread(target=go_on) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def aborted_bodies(port: int, token: str, until: float) -> None:
    """Batches that are cut off by their client."""
    data = head(BATCH_ENDPOINT, 4 * MIB, token) + b" " * (3 * MIB + MIB // 2)
    while left_s(until):
        with opened(port, 1, data):
            pass


def heads(port: int, _: str, until: float) -> None:
    """Heads of a megabyte that never end."""
    large = (b"X: " + b"y" * 8000 + b"\r\n") * 120
    while left_s(until):
        with opened(port, 10, b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n" + large):
            time.sleep(min(0.2, left_s(until)))


def pipelines(port: int, _: str, until: float) -> None:
    """Requests one behind another whose answers are never read, and then large heads."""
    one = b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n"
    data = (one + b"\r\n") * 100 + (one + (b"X: " + b"y" * 8000 + b"\r\n") * 3) * 10
    while left_s(until):
        with opened(port, 10, data, timeout_s=0.1):
            time.sleep(min(0.3, left_s(until)))


def bodies_without_a_token(port: int, _: str, until: float) -> None:
    """64 KiB each from many connections, with a token that nobody has."""
    while left_s(until):
        with opened(port, 200, head(ENDPOINT, 65_000, "nobody") + b" " * 64_000):
            time.sleep(min(0.2, left_s(until)))


def never_reading(port: int, _: str, until: float) -> None:
    """Large answers that nobody reads, kept as long as they last."""
    data = b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
    while left_s(until):
        with opened(port, 50, data, timeout_s=0.05):
            time.sleep(min(40.0, left_s(until)))


def many_connections(port: int, _token: str, until: float) -> None:
    """As many connections as the gateway accepts, which then say nothing."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    while left_s(until):
        with opened(port, min(20_000, most - 64), b"", timeout_s=1.0):
            time.sleep(min(20.0, left_s(until)))


def tiny_chunks(port: int, token: str, until: float) -> None:
    """Batches in chunks of one byte each, on several connections."""
    start = f"POST {BATCH_ENDPOINT} HTTP/1.1\r\nHost: x\r\nX-API-Key: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = start.encode() + b"1\r\n \r\n" * MIB
    while left_s(until):
        with opened(port, 8, data, timeout_s=0.5):
            pass


def nested_batches(port: int, token: str, until: float) -> None:
    """Batches whose items are nested deeply, 20 KB that unpack to megabytes: their ends are hard to find."""
    kinds = [b'{"x":[[[' + b"[]," * 21_000 + b"1]]]}", b"[1," * 300 + b"1" + b"]" * 300, b"[" * 1000 + b"]" * 1000]
    packed = [gzip.compress(b"[" + b",".join([kind] * (15 * MIB // len(kind))) + b"]") for kind in kinds]
    while left_s(until):
        for body in packed:
            post(port, BATCH_ENDPOINT, token, body, "Content-Encoding: gzip")


def resets(port: int, _: str, until: float) -> None:
    """Requests from many connections at once, which are then reset at once."""
    asked = head(ENDPOINT, 1000, "nobody") + b" " * 500
    while left_s(until):
        with opened(port, 500, b"") as connections:
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.sendall(asked)
            time.sleep(min(0.2, left_s(until)))


#: Those of a client with a token, and those of anybody.
ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        hostile_hostnames, batches_that_never_end, refused_batches, months, parallel_gzip_batches,
        aborted_bodies, heads, pipelines, bodies_without_a_token, never_reading, many_connections,
        tiny_chunks, nested_batches, resets,
    )
}  # fmt: skip

if __name__ == "__main__":
    ATTACKS[sys.argv[1]](int(sys.argv[2]), sys.argv[3], time.monotonic() + float(sys.argv[4]))

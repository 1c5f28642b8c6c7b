"""Requests of an access log, made again as real requests to a web server, and an independent count of their pages."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests import access_log

#: Visitors of this network are excluded on the site: a recipe that takes the proxy for the visitor is found out.
EXCLUDED = "198.51.100.0/24"
#: The recipes' files that are no pages.
STATIC = (
    "js,mjs,css,map,json,xml,txt,png,jpg,jpeg,gif,webp,avif,ico,svg,woff,woff2,ttf,otf,eot,mp3,mp4,webm,pdf,zip,gz,jar"
)
_STATIC = re.compile(rf"\.({STATIC.replace(',', '|')})$", re.IGNORECASE)
_PLAIN = re.compile(rb"[!-~]+")


class Visit(NamedTuple):
    """A request as a browser sends it through a proxy; texts are bytes, as on the wire."""

    target: bytes
    address: str
    user_agent: bytes
    referrer: bytes
    headers: tuple[bytes, ...] = ()
    method: bytes = b"GET"
    #: Whether a row is expected where it is a page.
    kept: bool = True

    @property
    def is_page(self) -> bool:
        path = self.target.split(b"?")[0].decode("latin-1")
        return self.kept and self.method == b"GET" and not _STATIC.search(path)


def visits(number: int) -> list[Visit]:
    """Return the visits of the log that the tests use, and such as must not be stored."""
    found = []
    for line in access_log.lines(number)[:number]:
        match = access_log.LINE.fullmatch(line)
        assert match is not None
        method, target, *_ = match["request"].encode("utf-8", "surrogateescape").split(b" ")
        if not _PLAIN.fullmatch(target) or method not in (b"GET", b"HEAD", b"POST"):
            continue
        found.append(Visit(target, match["ip"], _raw(match["ua"]), _raw(match["ref"]), method=method))
    return [*found, *_left_out()]


def _raw(text: str | None) -> bytes:
    """Return a header's bytes as the browser sent them: the log's escapes undone."""
    if text in (None, "-"):
        return b""
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode())


def _left_out() -> Iterable[Visit]:
    agent, address = b"Mozilla/5.0 Firefox/130.0", "203.0.113.7"
    for header in (
        b"DNT: 1",
        b"Sec-GPC: 1",
        b"Sec-Purpose: prefetch;prerender",
        b"Purpose: prefetch",
        b"X-Moz: prefetch",
    ):
        yield Visit(b"/left-out", address, agent, b"", (header,), kept=False)
    yield Visit(b"/excluded", "198.51.100.23", agent, b"", kept=False)
    yield Visit(b"/dnt-0", address, agent, b"", (b"DNT: 0",))
    yield Visit(b"/no-agent", address, b"", b"")
    yield Visit(b"/no-agent", address, b"-", b"")
    yield Visit(b'/quote"d', address, b'a "quoted" \\ agent', b"https://ref.example/?q=%22")


def pages(of: Iterable[Visit]) -> Counter[tuple[str, str]]:
    """Count the rows that must be there by path and user agent; a bare quote in a path is stored escaped."""
    return Counter((_path(visit.target), agent(visit.user_agent)) for visit in of if visit.is_page)


def _path(target: bytes) -> str:
    return target.split(b"?")[0].split(b"#")[0].decode().replace('"', "%22")


def agent(raw: bytes) -> str:
    """Return a user agent as it is stored."""
    return "-" if raw in (b"", b"-") else raw.decode("utf-8", "replace")


def visitors(of: Iterable[Visit]) -> int:
    """Count the visitors of those rows, by address and user agent."""
    return len({(visit.address, agent(visit.user_agent)) for visit in of if visit.is_page})


def drive(port: int, host: str, of: Sequence[Visit], connections: int = 8) -> None:
    """Make all requests from some connections at once, and see that each is answered."""
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(lambda part: _drive(port, host, part), [of[start::connections] for start in range(connections)]))


def _drive(port: int, host: str, of: Sequence[Visit]) -> None:
    connection = None
    for visit in of:
        connection = connection or socket.create_connection(("127.0.0.1", port), timeout=20)
        connection.sendall(_request(host, visit))
        if not _answered(connection, visit.method):
            connection.close()
            connection = None
    if connection:
        connection.close()


def _request(host: str, visit: Visit) -> bytes:
    head = [
        b"%s %s HTTP/1.1" % (visit.method, visit.target),
        b"Host: " + host.encode(),
        b"X-Forwarded-For: " + visit.address.encode(),
        b"Accept-Language: de-AT,de;q=0.9",
        *((b"User-Agent: " + visit.user_agent,) if visit.user_agent else ()),
        *((b"Referer: " + visit.referrer,) if visit.referrer else ()),
        *visit.headers,
        *((b"Content-Length: 0",) if visit.method == b"POST" else ()),
    ]
    return b"\r\n".join(head) + b"\r\n\r\n"


def _answered(connection: socket.socket, method: bytes) -> bool:
    """Read one answer and tell whether the connection stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        assert more, f"closed after {data!r}"
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"200", head
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    connection_header = re.search(rb"(?i)\r\nconnection: *close", head)
    assert length is not None, head
    wanted = 0 if method == b"HEAD" else int(length[1])
    while len(body) < wanted:
        more = connection.recv(65536)
        assert more, "closed in the middle"
        body += more
    return connection_header is None and head.startswith(b"HTTP/1.1")

"""Serves a replica's parts to the others, as a server does on `interserver_http_port`, which chDB has not.

The protocol is that of src/Storages/MergeTree/DataPartsExchange.cpp, in its version 3: size, TTLs, type of the part,
and each file with its size and hash.  While the file `cut-off` is there, it refuses, as with a network that is cut.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from tests.cluster.cityhash import hash128

_HASHED_BYTES = 2048
_VERSION = 3


class PartsServer:
    """Listens on loopback; `store` is the data directory, in which parts are at `store/xxx/UUID/NAME`."""

    def __init__(self, store: Path, port: int) -> None:
        self._store = store
        #: A file that says, by being there, that nothing is to be served.
        self.cut = store.parent / "cut-off"
        handler = type("Handler", (_Handler,), {"parts": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)

    def start(self) -> None:
        Thread(target=self._server.serve_forever, daemon=True).start()

    def files(self, endpoint: str, part: str) -> dict[str, bytes] | None:
        """Return a part's files; None where there is no such part."""
        uuid = next(piece for piece in endpoint.split("/") if piece.count("-") == 4)
        directory = self._store / uuid[:3] / uuid / part
        if self.cut.exists() or not directory.is_dir():
            return None
        return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


class _Handler(BaseHTTPRequestHandler):
    parts: PartsServer

    def do_POST(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        files = self.parts.files(asked["endpoint"][0], asked["part"][0])
        if files is None:
            self.send_error(500, "no such part")
            return
        body = b"".join(_encoded(files))
        self.send_response(200)
        self.send_header("Set-Cookie", f"server_protocol_version={_VERSION}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the name is http.server's

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _encoded(files: dict[str, bytes]) -> Iterator[bytes]:
    yield struct.pack("<Q", sum(map(len, files.values())))
    yield _string(b"ttl format version: 1\n" + json.dumps({}).encode())
    yield _string(b"Compact" if "data.bin" in files else b"Wide")
    yield struct.pack("<Q", len(files))
    for name, content in files.items():
        yield _string(name.encode()) + struct.pack("<Q", len(content)) + content + _hash(content)


def _string(text: bytes) -> bytes:
    return _number(len(text)) + text


def _number(value: int) -> bytes:
    """Return a number as LEB128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _hash(content: bytes) -> bytes:
    """Return the hash of IO/HashingWriteBuffer.h: of blocks, each with the hash so far as its seed."""
    state = 0, 0
    for at in range(0, len(content), _HASHED_BYTES):
        state = hash128(content[at : at + _HASHED_BYTES], state)
    return struct.pack("<QQ", *state)

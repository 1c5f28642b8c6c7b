"""Content-Encoding of request and response bodies: gzip, deflate, lz4 (frames), zstd, xz, bz2."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any, Protocol

import lz4.frame
import zstandard

from deploy.local.clickhouse.errors import ClickHouseError

_CHUNK = 8 << 20
# The order of preference when a client lists several, fastest first.
_PREFERENCE = ("lz4", "zstd", "gzip", "deflate", "bz2", "xz")


def _decompressor(encoding: str) -> Any:
    if encoding == "lz4":
        return lz4.frame.LZ4FrameDecompressor()
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj()
    if encoding in ("gzip", "deflate"):
        return zlib.decompressobj(47)  # detects gzip and zlib headers
    if encoding == "xz":
        return lzma.LZMADecompressor()
    if encoding == "bz2":
        return bz2.BZ2Decompressor()
    raise ClickHouseError(48, f"Unknown compression method: {encoding}")


def decompress(data: bytes | bytearray, encoding: str, limit_bytes: int) -> bytes | bytearray:
    """Return a body without its Content-Encoding; several frames or members are one text (clients send one a block).

    Raises ClickHouseError for an unknown encoding, a damaged body, and one that unpacks to more than the limit.
    """
    if encoding in ("", "identity"):
        return data
    out = bytearray()
    rest = memoryview(data)
    try:
        while rest:
            step = _decompressor(encoding)
            while rest and not step.eof:
                out += step.decompress(rest[:_CHUNK])
                rest = rest[_CHUNK:]
                check_size(len(out), limit_bytes)
            if not step.eof:
                raise ClickHouseError(271, f"Cannot decompress: the {encoding} body ends too early")
            if step.unused_data:
                rest = memoryview(bytes(step.unused_data) + bytes(rest))
    except (RuntimeError, OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise ClickHouseError(271, f"Cannot decompress the {encoding} body: {error}") from None
    return out


def check_size(size_bytes: int, limit_bytes: int) -> None:
    """Raise ClickHouseError (413) for a body over the limit."""
    if size_bytes > limit_bytes:
        message = f"Request body is over the limit of {limit_bytes} bytes (--max-body-bytes)"
        raise ClickHouseError(396, message, status=413)


def chosen(accept: str) -> str | None:
    """Return the encoding of the answer for an Accept-Encoding header; None: not compressed."""
    offered = {part.split(";")[0].strip().lower() for part in accept.split(",") if "q=0" not in part.split(";")[1:]}
    return next((name for name in _PREFERENCE if name in offered), None)


class Packer(Protocol):
    """Compresses an answer piece by piece."""

    def add(self, data: bytes) -> bytes:
        """Return the next piece, compressed; may be empty."""

    def end(self) -> bytes:
        """Return what is left."""


class Compressor:
    """Applies a Content-Encoding to pieces; None leaves them as they are."""

    def __init__(self, encoding: str | None):
        self._head = b""
        self._packer: Any = None
        if encoding == "lz4":
            self._packer = lz4.frame.LZ4FrameCompressor()
            self._head = self._packer.begin()
        elif encoding == "zstd":
            self._packer = zstandard.ZstdCompressor(level=1).compressobj()
        elif encoding == "bz2":
            self._packer = bz2.BZ2Compressor(1)
        elif encoding == "xz":
            self._packer = lzma.LZMACompressor(preset=0)
        elif encoding:
            self._packer = zlib.compressobj(3, zlib.DEFLATED, 31 if encoding == "gzip" else 15)

    def add(self, data: bytes) -> bytes:
        """Return the next piece, encoded; may be empty."""
        if self._packer is None:
            return data
        head, self._head = self._head, b""
        return head + bytes(self._packer.compress(data))

    def end(self) -> bytes:
        """Return what is left."""
        return b"" if self._packer is None else self._head + bytes(self._packer.flush())

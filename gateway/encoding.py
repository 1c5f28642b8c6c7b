"""Decompression of request bodies with a size limit: a bomb uses no more memory than the largest body allowed."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gateway.http import too_large
from gateway.replies import Reason, Rejected

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: zlib's window argument: detect a gzip or zlib header; and no header at all, which some senders call deflate.
_WITH_HEADER = 47
_RAW = -15
#: Largest zstd window to accept: 2**23 bytes (RFC 9659).
_ZSTD_OPTIONS = {int(zstd.DecompressionParameter.window_log_max): 23}
#: Most members (gzip) or frames (zstd) of one body.
_MAX_MEMBERS = 2_000
#: Bytes given to a decompressor at once.  It copies whatever follows the end of a member: given the whole body, that
#: would be quadratic in the number of members (22 seconds for 4 MiB of small ones).
_PIECE = 4096


class _Stream(Protocol):
    """The common interface of zlib's and zstd's decompressors."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: memoryview, max_length: int, /) -> bytes: ...


def decode(body: bytes, encoding: str | None, limit: int) -> bytes:
    """Return the decompressed body, at most `limit` bytes.

    Supports gzip, deflate, zstd and identity (RFC 9110, section 8.4.1).  Raises `Rejected`: unknown encoding (415),
    broken data (400), too large (413).
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return body
    if name in ("gzip", "x-gzip"):
        return _decompress(body, partial(zlib.decompressobj, _WITH_HEADER), limit)
    if name == "deflate":
        # RFC 9110 means zlib's format; senders that leave out its header are as common.
        wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _decompress(body, partial(zlib.decompressobj, _WITH_HEADER if wrapped else _RAW), limit)
    if name == "zstd":
        return _decompress(body, partial(zstd.ZstdDecompressor, options=_ZSTD_OPTIONS), limit)
    raise Rejected(Reason.UNKNOWN_ENCODING)


def _decompress(body: bytes, new_stream: Callable[[], _Stream], limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit + 1
    rest = memoryview(body)
    for _ in range(_MAX_MEMBERS + 1):  # both formats may consist of several members or frames
        if not rest:
            return b"".join(parts)
        stream = new_stream()
        while not stream.eof:
            if not rest:  # truncated: must not be accepted as complete
                raise Rejected(Reason.BAD_ENCODING)
            piece = rest[:_PIECE]
            try:
                part = stream.decompress(piece, room)
            except (zlib.error, zstd.ZstdError):
                raise Rejected(Reason.BAD_ENCODING) from None
            parts.append(part)
            room -= len(part)
            if room <= 0:
                raise too_large(limit)
            rest = rest[len(piece) - len(stream.unused_data) :]
    raise Rejected(Reason.TOO_LARGE, f"body: has over {_MAX_MEMBERS} compressed members")

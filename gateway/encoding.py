"""Decompression of request bodies with a size limit: a bomb uses no more memory than the largest body allowed."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol

from gateway.http import too_large
from gateway.replies import Reason, Rejected
from gateway.slices import Slices

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: zlib's window argument: detect a gzip or zlib header; and no header at all, which some senders call deflate.
_WITH_HEADER: Final = 47
_RAW: Final = -15
#: Largest zstd window to accept: 2**23 bytes (RFC 9659).
_ZSTD_OPTIONS: Final = {int(zstd.DecompressionParameter.window_log_max): 23}
#: Most members (gzip) or frames (zstd) of one body; creating a decompressor takes up to 50 µs.
_MAX_MEMBERS: Final = 20_000
#: Bytes given to a decompressor at once.  It copies whatever follows the end of a member: given the whole body, that
#: would be quadratic in the number of members (22 seconds for 4 MiB of small ones).
_PIECE: Final = 4096
#: Bytes that are decompressed at once: 4 KiB may stand for 4 MiB.
_DECOMPRESSED: Final = 256 * 1024


class _Stream(Protocol):
    """The common interface of zlib's and zstd's decompressors."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: memoryview, max_length: int, /) -> bytes: ...


def decode(body: bytes | bytearray, encodings: Sequence[str], limit: int) -> bytes | bytearray:
    """Return the decompressed body, at most `limit` bytes.

    Supports gzip, deflate, zstd and identity (RFC 9110, section 8.4.1).  Raises `Rejected`: unknown encoding (415),
    broken data (400), too large (413).
    """
    new_stream = _decompressor(body, encodings)
    return body if new_stream is None else bytearray().join(_decompress(body, new_stream, limit))


async def decode_large(
    body: bytes | bytearray, encodings: Sequence[str], limit: int, slices: Slices
) -> bytes | bytearray:
    """Do the same for a body that takes some time; other requests get their turn meanwhile."""
    new_stream = _decompressor(body, encodings)
    if new_stream is None:
        return body
    decoded = bytearray()
    for part in _decompress(body, new_stream, limit):
        decoded += part
        if slices.over():
            await slices.next()
    return decoded


def _decompressor(body: bytes | bytearray, encodings: Sequence[str]) -> Callable[[], _Stream] | None:
    """Return what makes the decompressor of one member, None when there is nothing to decompress.

    `encodings`: the values of all `Content-Encoding` headers, which are one list.
    """
    if not encodings:
        return None
    names = [name.strip().lower() for name in ",".join(encodings).split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1:
        raise Rejected(Reason.UNKNOWN_ENCODING, "Content-Encoding: only one coding is supported")
    name = names[0]
    if name in ("gzip", "x-gzip"):
        return partial(zlib.decompressobj, _WITH_HEADER)
    if name == "deflate":
        # RFC 9110 means zlib's format; senders that leave out its header are as common.
        wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return partial(zlib.decompressobj, _WITH_HEADER if wrapped else _RAW)
    if name == "zstd":
        return partial(zstd.ZstdDecompressor, options=_ZSTD_OPTIONS)
    raise Rejected(Reason.UNKNOWN_ENCODING)


def _decompress(body: bytes | bytearray, new_stream: Callable[[], _Stream], limit: int) -> Iterator[bytes]:
    left = limit + 1
    view = memoryview(body)
    at = 0
    for _ in range(_MAX_MEMBERS + 1):  # both formats may consist of several members or frames
        if at == len(view):
            return
        stream = new_stream()
        more = False
        while not stream.eof:
            if at == len(view) and not more:  # truncated: must not be accepted as complete
                raise Rejected(Reason.BAD_ENCODING)
            # What it has not decompressed yet zstd keeps, and needs no input meanwhile; zlib gives it back.
            piece = view[at : at + _PIECE] if getattr(stream, "needs_input", True) else view[:0]
            most = min(left, _DECOMPRESSED)
            try:
                part = stream.decompress(piece, most)
            except (zlib.error, zstd.ZstdError):
                raise Rejected(Reason.BAD_ENCODING) from None
            left -= len(part)
            if left <= 0:
                raise too_large(limit)
            more = len(part) == most
            yield part
            at += len(piece) - len(stream.unused_data if stream.eof else getattr(stream, "unconsumed_tail", b""))
    raise Rejected(Reason.TOO_LARGE, f"body: has over {_MAX_MEMBERS} compressed members")

"""Undoing a body's Content-Encoding within a bound: a bomb costs no more memory than the largest body allowed."""

from __future__ import annotations

import zlib

import zstandard

from gateway.http import too_large
from gateway.replies import Reason, Rejected

#: zlib's window argument: gzip or zlib header, whichever is there; and no header at all, which some call deflate.
_WITH_HEADER = 47
_BARE = -15
#: Largest zstd window to accept (RFC 9659 says 8 MiB for HTTP).
_ZSTD_WINDOW = 8 * 1024 * 1024


def decode(body: bytes, encoding: str | None, limit: int) -> bytes:
    """Return the body as it was before encoding, at most `limit` bytes of it.

    Knows gzip, deflate, zstd and identity (RFC 9110, section 8.4.1).  Raises `Rejected`: unknown, broken, too large.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return body
    if name in ("gzip", "x-gzip"):
        return _inflate(body, _WITH_HEADER, limit)
    if name == "deflate":
        # RFC 9110 means zlib's format; senders that leave its header out are as common.
        wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _inflate(body, _WITH_HEADER if wrapped else _BARE, limit)
    if name == "zstd":
        return _unzstd(body, limit)
    raise Rejected(Reason.UNKNOWN_ENCODING)


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit + 1
    while body:  # a gzip file may have several members
        stream = zlib.decompressobj(window)
        try:
            part = stream.decompress(body, room)
        except zlib.error:
            raise Rejected(Reason.BAD_ENCODING) from None
        parts.append(part)
        room -= len(part)
        if room <= 0:
            raise too_large(limit)
        if not stream.eof:
            raise Rejected(Reason.BAD_ENCODING)
        body = stream.unused_data
    return b"".join(parts)


def _unzstd(body: bytes, limit: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    try:
        with decompressor.stream_reader(body, read_across_frames=True) as stream:
            decoded = stream.read(limit + 1)
    except zstandard.ZstdError:
        raise Rejected(Reason.BAD_ENCODING) from None
    if len(decoded) > limit:
        raise too_large(limit)
    return decoded

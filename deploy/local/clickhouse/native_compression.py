"""ClickHouse's own compression of HTTP bodies (`compress=1`, `decompress=1`), which JDBC and others use.

A body is a row of blocks: a checksum (CityHash128, version 1.0.2) of what follows, the method, the compressed size with
this header of 9 bytes, the original size, the data (src/Compression/CompressedWriteBuffer.cpp).
"""

from __future__ import annotations

import struct

import lz4.block
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from deploy.local.clickhouse.encoding import check_size
from deploy.local.clickhouse.errors import ClickHouseError

_BLOCK_BYTES = 1 << 20
_HEADER = struct.Struct("<BII")
_CHECKSUM_BYTES = 16
_NONE, _LZ4, _ZSTD = 0x02, 0x82, 0x90


def compress(data: bytes) -> bytes:
    """Return the data as blocks in LZ4, which is a server's default; no data: no block."""
    view = memoryview(data)
    return b"".join(_block(view[at : at + _BLOCK_BYTES]) for at in range(0, len(data), _BLOCK_BYTES))


def _block(piece: memoryview) -> bytes:
    packed = lz4.block.compress(piece, store_size=False)
    body = _HEADER.pack(_LZ4, _HEADER.size + len(packed), len(piece)) + packed
    return _checksum(body) + bytes(body)


def _checksum(body: bytes) -> bytes:
    number = CityHash128(body)
    return struct.pack("<QQ", int(number) >> 64, int(number) & (1 << 64) - 1)


class NativeCompressor:
    """Compresses an answer piece by piece (see `encoding.Packer`)."""

    def add(self, data: bytes) -> bytes:
        """Return the piece as blocks of its own."""
        return compress(data)

    def end(self) -> bytes:
        """Return nothing: blocks end by themselves."""
        return b""


def decompress(data: bytes | bytearray, limit_bytes: int) -> bytearray:
    """Return what the blocks contain; raises ClickHouseError for damaged blocks, and for more than the limit."""
    out = bytearray()
    view = memoryview(data)
    while view:
        header = view[_CHECKSUM_BYTES : _CHECKSUM_BYTES + _HEADER.size]
        if len(header) < _HEADER.size:
            raise ClickHouseError(271, "Cannot decompress: the last block ends too early")
        method, size, original_size = _HEADER.unpack(header)
        body = bytes(view[_CHECKSUM_BYTES : _CHECKSUM_BYTES + size])
        check_size(len(out) + original_size, limit_bytes)
        if size < _HEADER.size or len(body) < size or view[:_CHECKSUM_BYTES] != _checksum(body):
            raise ClickHouseError(40, "Checksum doesn't match: corrupted data")
        out += _unpacked(method, body[_HEADER.size :], original_size)
        view = view[_CHECKSUM_BYTES + size :]
    return out


def _unpacked(method: int, packed: bytes, original_size: int) -> bytes:
    try:
        if method == _LZ4:
            return bytes(lz4.block.decompress(packed, uncompressed_size=original_size))
        if method == _ZSTD:
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=original_size)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise ClickHouseError(271, f"Cannot decompress: {error}") from None
    if method == _NONE:
        return packed
    raise ClickHouseError(89, f"Unknown compression method: {method:#x}")

"""Undoing a log's compression piece by piece, in bounded memory: gzip, zstd, xz, bzip2, or none."""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes of output at once, at any compression ratio.
_PIECE: Final = 1 << 20


class DamagedError(Exception):
    """Compressed data end early or make no sense; the text says which."""


class _Stream(Protocol):
    """What the decompressors of the standard library have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


#: The bytes a file begins with, and what reads it.
_KINDS: Final[tuple[tuple[bytes, str, Callable[[], _Stream]], ...]] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"\x28\xb5\x2f\xfd", "zstd", zstd.ZstdDecompressor),
    (b"\xfd7zXZ\x00", "xz", lzma.LZMADecompressor),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
)
#: The longest of those beginnings.
MAGIC_BYTES: Final = 6
_ERRORS: Final = (zlib.error, lzma.LZMAError, OSError, zstd.ZstdError, EOFError, ValueError)


def compression(head: bytes) -> str:
    """Return the compression's name of a file that begins with `head`; empty for plain text."""
    return next((name for magic, name, _ in _KINDS if head.startswith(magic)), "")


class Decompressor:
    """Takes compressed bytes and gives plain ones; concatenated members are one stream, as `zcat` has it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._new = next(new for _, kind, new in _KINDS if kind == name)
        self._stream: _Stream | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` decompresses to; raises `DamagedError`."""
        while data or (self._stream is not None and not self._stream.needs_input):
            if self._stream is None:
                data = data.lstrip(b"\0")  # tapes and some tools pad the end
                if not data:
                    return
                self._stream = self._new()
            try:
                piece = self._stream.decompress(data, _PIECE)
            except _ERRORS:
                raise DamagedError(f"the {self._name} data are damaged") from None
            data = b""
            if piece:
                yield piece
            if self._stream.eof:
                data, self._stream = self._stream.unused_data, None

    def finish(self) -> None:
        """Raise `DamagedError` where the data ended in the middle."""
        if self._stream is not None:
            raise DamagedError(f"the {self._name} data end early")

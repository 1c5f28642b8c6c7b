"""Log files: recognising them under any name, and reading them piece by piece."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from deploy.replay.decompress import MAGIC_BYTES, DamagedError, Decompressor, compression

#: Bytes that are read at once.
_CHUNK: Final = 256 * 1024
#: Bytes that identify a log: a renamed or compressed one has the same.
HEAD_BYTES: Final = 4096
#: Bytes in which the first lines are looked for.
SURVEY_BYTES: Final = 64 * 1024


class Identity(NamedTuple):
    """A keyed hash of a log's first bytes, and how many those are: a log that is short yet may grow."""

    digest: str
    size: int

    @classmethod
    def of(cls, head: bytes, key: bytes) -> Identity:
        """Return the identity of a log that begins with `head`, uncompressed."""
        head = head[:HEAD_BYTES]
        return cls(hashlib.blake2b(head, digest_size=16, key=key, person=b"log").hexdigest(), len(head))

    def matches(self, head: bytes, key: bytes) -> bool:
        """Tell whether a log that begins with `head` is this one, grown or not."""
        return 0 < self.size <= len(head) and Identity.of(head[: self.size], key).digest == self.digest


class LogFile:
    """An open log, read from where it stands; a plain one may be read on when it has grown."""

    def __init__(self, path: Path) -> None:
        """Open; raises `OSError`."""
        self.path = path
        self._file = path.open("rb", buffering=0)
        self.compression = compression(os.pread(self._file.fileno(), MAGIC_BYTES, 0))
        self._stream = Decompressor(self.compression) if self.compression else None
        self._to_skip = 0

    @property
    def size(self) -> int:
        """Bytes of the file, compressed as it is."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def raw_position(self) -> int:
        """Bytes of the file that were read."""
        return self._file.tell()

    @property
    def inode(self) -> tuple[int, int]:
        """The file system's id of the file, which renaming does not change."""
        found = os.fstat(self._file.fileno())
        return found.st_dev, found.st_ino

    def skip(self, position: int) -> None:
        """Begin at a position of the uncompressed log."""
        if self._stream is None:
            self._file.seek(position)
        else:
            self._to_skip = position

    def pieces(self) -> Iterator[bytes]:
        """Yield the uncompressed log up to its present end; raises `DamagedError`, `OSError`."""
        while chunk := self._file.read(_CHUNK):
            if self._stream is None:
                yield chunk
                continue
            for piece in self._stream.feed(chunk):
                rest = piece[self._to_skip :]
                self._to_skip -= len(piece) - len(rest)
                if rest:
                    yield rest

    def finish(self) -> None:
        """Raise `DamagedError` where compressed data ended in the middle."""
        if self._stream is not None:
            self._stream.finish()

    def head(self, size: int = HEAD_BYTES) -> bytes:
        """Return the first bytes of a plain log, as they are now."""
        return os.pread(self._file.fileno(), size, 0)

    def close(self) -> None:
        """Close it."""
        self._file.close()


def read_head(path: Path, size: int = SURVEY_BYTES) -> bytes:
    """Return up to `size` first bytes of a log, uncompressed; damage is noticed when the whole log is read."""
    log = LogFile(path)
    found = b""
    try:
        for piece in log.pieces():
            found += piece
            if len(found) >= size:
                break
    except DamagedError:
        pass
    finally:
        log.close()
    return found[:size]

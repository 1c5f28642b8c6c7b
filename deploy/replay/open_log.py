"""A log that is being read: its file, its lines, and whether the file still is what it was."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.replay.files import HEAD_BYTES, Identity, LogFile
from deploy.replay.lines import Line, LineCutter
from deploy.replay.survey import Log


class ReplacedError(Exception):
    """The file was truncated and holds another log now; nothing of that was given yet."""


class OpenLog:
    """Yields the lines after `log.position`, which the caller advances."""

    def __init__(self, log: Log, file: LogFile, key: bytes) -> None:
        self.log = log
        self.file = file
        self._key = key
        self._cutter = LineCutter(log.position, log.lines)
        if log.position:
            file.skip(log.position)

    def lines(self) -> Iterator[Line]:
        """Yield the lines up to the file's present end; raises `DamagedError`, `OSError`, `ReplacedError`."""
        for piece in self.file.pieces():
            self._check()
            yield from self._cutter.feed(piece)

    def rest(self) -> Iterator[Line]:
        """Yield the last line where it has no end; raises `DamagedError`."""
        self.file.finish()
        yield from self._cutter.finish()

    def check_not_truncated(self) -> None:
        """Raise `ReplacedError` where the file is shorter than what was read, or begins otherwise."""
        if not self.file.compression:
            if self.file.size < self.file.raw_position:
                raise ReplacedError
            self._check()

    def _check(self) -> None:
        """Compare the file's beginning with the log's, and note more of it while that is short."""
        if self.file.compression:
            return
        head = self.file.head()
        identity = self.log.identity
        if identity is not None and not identity.matches(head, self._key):
            raise ReplacedError
        if head and (identity is None or identity.size < HEAD_BYTES):
            self.log.identity = Identity.of(head, self._key)

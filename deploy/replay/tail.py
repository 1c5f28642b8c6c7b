"""Following a log that is being written, through rotation by rename and by truncation.

- Renamed: the old file is read on until it has been quiet for a moment and the new one is there; afterwards it is
  looked at for some minutes more, since Apache's old processes write to it until their requests are done.
- Truncated (logrotate's `copytruncate`): what was not read yet is read from the copy, if there is one beside it.  What
  is written between copy and truncation is in neither; that is copytruncate's own loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from deploy.replay.entry import Malformed
from deploy.replay.files import LogFile, read_head
from deploy.replay.lines import Line
from deploy.replay.open_log import OpenLog, ReplacedError
from deploy.replay.state import Position
from deploy.replay.survey import Log, Reading, UnknownFormatError, earlier, look_at

#: How long a renamed log must have been quiet before the new one is read.
_QUIET_S: Final = 1.0
#: How long it is looked at afterwards.
_RETIRED_S: Final = 600.0


class Tail:
    """Gives the lines of one path, in their order."""

    def __init__(
        self, path: Path, reading: Reading, key: bytes, known: Callable[[], Sequence[Position]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`known` returns how far logs were taken, this run's included."""
        self._path = path
        self._reading = reading
        self._key = key
        self._known = known
        self._now = now
        self._current: OpenLog | None = None
        self._grew_at = now()
        self._retired: list[tuple[OpenLog, float]] = []
        self._missed = self._siblings_to_read()

    def poll(self) -> Iterator[tuple[Log, Line]]:
        """Yield what has been written since the last call; raises `OSError` but for a log that is not there."""
        while self._missed:
            yield from self._whole(self._missed.pop(0))
        yield from self._of_retired()
        if self._current is None:
            self._current = self._open()
        if self._current is None:
            return
        try:
            self._current.check_not_truncated()
            for line in self._current.lines():
                self._grew_at = self._now()
                yield self._current.log, line
        except ReplacedError:
            yield from self._truncated(self._current)
            return
        if self._is_renamed(self._current) and self._now() - self._grew_at >= _QUIET_S:
            self._retired.append((self._current, self._now()))
            self._current = None
            yield from self.poll()

    def close(self) -> None:
        """Close all files."""
        for log, _ in [*self._retired, *([(self._current, 0.0)] if self._current else [])]:
            log.file.close()

    @property
    def behind_bytes(self) -> int:
        """Bytes of the log that were not read yet."""
        return max(0, self._current.file.size - self._current.file.raw_position) if self._current else 0

    def _open(self) -> OpenLog | None:
        """Open what is at the path now; None while there is nothing."""
        try:
            file = LogFile(self._path)
        except FileNotFoundError:
            return None
        log = Log(str(self._path), self._reading)
        head = file.head()
        if saved := earlier(head, self._key, self._known()):
            log.identity = saved.identity
            log.go_on_from(saved)
        self._grew_at = self._now()
        return OpenLog(log, file, self._key)

    def _is_renamed(self, current: OpenLog) -> bool:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False  # the new one is to come
        return (found.st_dev, found.st_ino) != current.file.inode

    def _of_retired(self) -> Iterator[tuple[Log, Line]]:
        for log, since in list(self._retired):
            try:
                for line in log.lines():
                    yield log.log, line
            except ReplacedError:  # nothing of a rotated log is left to read where something is written over it
                since = -_RETIRED_S
            if self._now() - since > _RETIRED_S:
                self._retired = [each for each in self._retired if each[0] is not log]
                for line in log.rest():
                    yield log.log, line
                log.file.close()

    def _truncated(self, current: OpenLog) -> Iterator[tuple[Log, Line]]:
        """Read what is missing from the copy, then begin the file again."""
        for path in self._siblings():
            if current.log.identity and current.log.identity.matches(read_head(path), self._key):
                yield from self._rest_of(path, current.log)
                break
        self._current = OpenLog(Log(str(self._path), self._reading), current.file, self._key)
        self._current.file.skip(0)
        yield from self.poll()

    def _rest_of(self, path: Path, log: Log) -> Iterator[tuple[Log, Line]]:
        copy = OpenLog(log, LogFile(path), self._key)
        for line in copy.lines():
            yield log, line
        for line in copy.rest():
            yield log, line
        copy.file.close()

    def _siblings(self) -> list[Path]:
        """Return files named like the log with more behind it (`access.log.1`), the oldest first."""
        found = [path for path in self._path.parent.glob(f"{_literal(self._path.name)}?*") if path.is_file()]
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def _siblings_to_read(self) -> list[Path]:
        """Return what was rotated away since the last run: the log that it had not finished, and all after it."""
        ours = [log for log in self._known() if log.name == str(self._path)]
        paths = self._siblings()
        if not ours or not paths:
            return []
        heads = [read_head(path) for path in paths]
        matching = [place for place, head in enumerate(heads) if earlier(head, self._key, ours)]
        return paths[matching[0] :] if matching else []

    def _whole(self, path: Path) -> Iterator[tuple[Log, Line]]:
        """Read a rotated log from where it was left; what is not of our format is another's file."""
        try:
            log = look_at(path, self._reading, self._key, self._known())
        except (UnknownFormatError, Malformed):
            return
        log.name = str(self._path)
        yield from self._rest_of(path, log)


def _literal(name: str) -> str:
    """Return a file name that `glob` takes as it is."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)

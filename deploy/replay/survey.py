"""A look at each log before anything is sent: which it is, how far it was taken, in which format it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from deploy.replay import detect, formats
from deploy.replay.entry import Malformed
from deploy.replay.files import Identity, read_head
from deploy.replay.formats import Format
from deploy.replay.formats.w3c import W3CLog
from deploy.replay.lines import Line, LineCutter
from deploy.replay.state import Position


class UnknownFormatError(Exception):
    """No format reads a log; the text says what to do."""


@dataclass(frozen=True)
class Reading:
    """How logs are to be read."""

    zone: tzinfo
    forwarded: bool
    #: A format's name or template; None: find it.
    format: str | None = None


class Log:
    """A log that is to be read, from `position` on; `format` is None until its first lines are known."""

    def __init__(self, name: str, reading: Reading) -> None:
        self.name = name
        self.title = ""
        self.wanted = reading.format or ""
        self.format: Format | None = (
            formats.make(reading.format, reading.zone, reading.forwarded) if reading.format else None
        )
        self.identity: Identity | None = None
        self.position = 0
        self.lines = 0
        #: Bytes of the file, compressed as it is.
        self.size = 0
        #: Of its first request, for the order in which logs are read.
        self.first_ms = 0
        #: The digest under which its position was noted last.
        self.noted_as = ""
        #: Lines that wait for the format to be known.
        self.pending: list[Line] = []
        #: What was read badly, for a warning.
        self.doubt = ""
        self._reading = reading

    def find_format(self, lines: Sequence[bytes]) -> None:
        """Choose the format by the log's first lines; raises `UnknownFormatError`."""
        reading = self._reading
        found = (
            detect.judge(reading.format, lines, reading.zone, reading.forwarded)
            if reading.format
            else detect.detect(lines, reading.zone, reading.forwarded)
        )
        if not reading.format and all(line.startswith(b"#") for line in lines):
            found = detect.Detected("w3c", "W3C extended", 1, 1)  # its directives, and no request yet
        if found is None or not found.read:
            named = "--format does not read" if reading.format else "no known format reads"
            raise UnknownFormatError(
                f"{self.name}: {named} any of its first {len(lines)} lines; choose with --format"
                f" ({', '.join(formats.BUILT_IN)}, or a template such as '$remote_addr …' or '%h …')"
            )
        self.wanted, self.title = found.wanted, found.title
        self.format = formats.make(found.wanted, reading.zone, reading.forwarded)
        if found.read * 2 < found.lines:
            self.doubt = f"{self.name}: {found.title} reads only {found.read} of the first {found.lines} lines"

    def go_on_from(self, saved: Position) -> None:
        """Begin where an earlier run ended, with the format as it was there."""
        self.position, self.lines = saved.position, saved.lines
        self.wanted, self.title = self._reading.format or saved.format, saved.title
        self.format = formats.make(self.wanted, self._reading.zone, self._reading.forwarded)
        self.format.clock.last_ms = saved.last_ms
        if isinstance(self.format, W3CLog):
            self.format.directives.update(saved.directives)

    def saved(self) -> Position | None:
        """Return how much of this log was sent; None if it can't be distinguished from others."""
        if self.identity is None or self.format is None:
            return None
        directives = dict(self.format.directives) if isinstance(self.format, W3CLog) else {}
        last_ms = self.format.clock.last_ms
        return Position(
            self.identity, self.name, self.position, self.lines, self.wanted, self.title, last_ms, directives
        )


def look_at(path: Path, reading: Reading, key: bytes, known: Sequence[Position]) -> Log:
    """Return the log at `path` with all that can be known before it is read; raises `UnknownFormatError`, `OSError`."""
    log = Log(str(path), reading)
    log.size = path.stat().st_size
    head = read_head(path)
    if not head:
        return log
    log.identity = Identity.of(head, key)
    lines = _lines(head)
    if saved := earlier(head, key, known):
        log.go_on_from(saved)
    elif lines:
        log.find_format(lines)
    log.first_ms = _first_ms(log, lines, reading)
    return log


def earlier(head: bytes, key: bytes, known: Sequence[Position]) -> Position | None:
    """Return how far a log that begins with `head` was taken: the furthest of the positions that are its."""
    digests = {size: Identity.of(head[:size], key).digest for size in {log.identity.size for log in known}}
    matching = [
        log for log in known if 0 < log.identity.size <= len(head) and digests[log.identity.size] == log.identity.digest
    ]
    return max(matching, key=lambda log: log.position, default=None)


def _lines(head: bytes) -> list[bytes]:
    cutter = LineCutter()
    found = [line.text for line in cutter.feed(head) if line.text.strip()][: detect.SAMPLE]
    return found or [line.text for line in cutter.finish()]


def _first_ms(log: Log, lines: list[bytes], reading: Reading) -> int:
    if not log.wanted:
        return 0
    reader = formats.make(log.wanted, reading.zone, reading.forwarded)
    for line in lines:
        try:
            entry = reader.parse(line)
        except Malformed:
            continue
        if entry is not None:
            return entry.time_ms
    return 0

"""Cutting bytes into lines, with the position behind each, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

#: A longer line is cut to this, and is malformed: the largest item that the gateway takes is as large.
MAX_LINE: Final = 65_536
_BOM: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line without its end (LF or CRLF), at most `MAX_LINE` + 1 bytes of it."""

    text: bytes
    #: Bytes of the uncompressed log up to and with this line.
    end: int
    #: 1 for the first line.
    number: int
    #: Whether it had an end: the last line of a log that is being written has none yet.
    complete: bool = True


class LineCutter:
    """Takes pieces of a log in their order and gives its lines."""

    def __init__(self, position: int = 0, number: int = 0) -> None:
        self._rest = b""
        self._rest_bytes = 0
        self.position = position
        self.number = number

    def feed(self, piece: bytes) -> Iterator[Line]:
        """Yield the lines that `piece` completes."""
        *ended, last = piece.split(b"\n")
        for text in ended:
            self._keep(text)
            yield self._cut(1)
        self._keep(last)

    def finish(self) -> Iterator[Line]:
        """Yield the line without an end that is left, if any."""
        if self._rest_bytes:
            yield self._cut(0)._replace(complete=False)

    def _keep(self, text: bytes) -> None:
        self._rest_bytes += len(text)
        if not self._rest:
            # Truncating a log that is written at an offset (logrotate's copytruncate) leaves NULs up to it.
            text = text.lstrip(b"\0")
        self._rest = (self._rest + text)[: MAX_LINE + 1]

    def _cut(self, end_bytes: int) -> Line:
        self.position += self._rest_bytes + end_bytes
        self.number += 1
        text = self._rest.removesuffix(b"\r")
        if self.number == 1:
            text = text.removeprefix(_BOM)
        self._rest, self._rest_bytes = b"", 0
        return Line(text, self.position, self.number)

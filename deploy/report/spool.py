"""Texts of sites, kept on disk until all are there: of a hundred thousand sites they would fill the memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO


class Spool:
    """Gathers texts in a temporary file, which is gone once they were read, or with the process."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `texts`
        self._places: list[tuple[str, int, int]] = []

    def add(self, key: str, text: str) -> None:
        """Keep a text; raises OSError where the disk has no room for it."""
        data = text.encode()
        self._places.append((key, self._file.tell(), len(data)))
        self._file.write(data)
        self._file.flush()  # here, where it is told as what it is, and not when all is read back

    def texts(self) -> Iterator[str]:
        """Yield all of them by key, those of one key as they came; once."""
        with self._file as file:
            for _, start, length in sorted(self._places):
                file.seek(start)
                yield file.read(length).decode()

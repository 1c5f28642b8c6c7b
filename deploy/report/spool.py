"""Texts of sites, kept on disk until all are there: of a hundred thousand sites they would fill the memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO


class Spool:
    """Gathers texts in a temporary file, which is gone once they were read; `by_name`: they come back in that order."""

    def __init__(self, *, by_name: bool) -> None:
        self._by_name = by_name
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `texts`
        self._places: list[tuple[str, int, int]] = []

    def add(self, name: str, text: str) -> None:
        """Keep a text."""
        data = text.encode()
        self._places.append((name, self._file.tell(), len(data)))
        self._file.write(data)

    def texts(self) -> Iterator[str]:
        """Yield all of them, once."""
        places = sorted(self._places) if self._by_name else self._places
        with self._file as file:
            for _, start, length in places:
                file.seek(start)
                yield file.read(length).decode()

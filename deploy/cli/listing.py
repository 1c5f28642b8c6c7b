"""Long results printed as they come, so that none is kept: lines of a table, elements of a JSON array, progress."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import click

from deploy.cli.output import Output
from deploy.cli.support import as_text
from shared.terminal import visible

#: Seconds.
_SILENT_S: Final = 10.0


class StreamedTable:
    """Prints rows in columns of fixed widths; the last one is as wide as its text."""

    def __init__(self, output: Output, widths: Mapping[str, int]) -> None:
        self._output = output
        self._widths = widths
        self.any = False

    def add(self, row: Mapping[str, Any]) -> None:
        """Print a row, after the headings where it is the first."""
        if not self.any:
            self.any = True
            self._print({name: name.upper() for name in self._widths})
        self._print(row)

    def _print(self, row: Mapping[str, Any]) -> None:
        line = "  ".join(str(row[name]).ljust(width) for name, width in self._widths.items()).rstrip()
        self._output.add(visible(line) + "\n")


class StreamedJson:
    """Prints a JSON array, one element a line."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.any = False

    def add(self, element: Mapping[str, Any]) -> None:
        """Print an element."""
        self._output.add(("," if self.any else "[") + "\n  " + json.dumps(element, default=as_text))
        self.any = True

    def end(self) -> None:
        """Close the array."""
        self._output.add("\n]\n" if self.any else "[]\n")


class Progress:
    """Says on standard error how far a command is: each time so many more are done, and when it was silent for long."""

    def __init__(self, done: str, every: int = 5_000) -> None:
        self._done = done
        self._every = every
        self._count = 0
        self._said = time.monotonic()

    def add(self, count: int) -> None:
        """Note that so many more are done."""
        before = self._count
        self._count += count
        now = time.monotonic()
        if self._count // self._every > before // self._every or now - self._said > _SILENT_S:
            click.echo(f"{self._count:,} {self._done}", err=True)
            self._said = now

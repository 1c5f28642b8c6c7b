"""Long results printed as they come, so that none is kept: lines of a table, elements of a JSON array, progress."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from deploy.cli.output import Output
from deploy.cli.support import as_text
from shared.terminal import visible


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
    """Says now and then on standard error how far a command is."""

    def __init__(self, done: str, every: int = 5_000) -> None:
        self._done = done
        self._every = every
        self._count = 0

    def add(self, count: int) -> None:
        """Note that so many more are done."""
        if (self._count + count) // self._every > self._count // self._every:
            click.echo(f"{self._count + count:,} {self._done}", err=True)
        self._count += count

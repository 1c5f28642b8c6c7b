"""What `hitline dead replay` prints: what became of each letter."""

from __future__ import annotations

from collections import Counter

import click

from deploy.cli.listing import StreamedJson
from deploy.cli.output import Output
from shared.terminal import visible


class OutcomesOfReplay:
    """Prints each letter's outcome as it becomes known, and the totals."""

    def __init__(self, output: Output, as_json: bool) -> None:
        self._output = output
        self._json = StreamedJson(output) if as_json else None
        self._totals = Counter[str]()

    def add(self, letter_id: str, outcome: str) -> None:
        """Print a letter's outcome."""
        self._totals[outcome] += 1
        if self._json is not None:
            self._json.add({"id": letter_id, "end": outcome})
        else:
            self._output.add(visible(f"{letter_id}  {outcome}") + "\n")

    def end(self) -> None:
        """Print the totals, or close the JSON."""
        if self._json is not None:
            self._json.end()
            return
        totals = ", ".join(f"{count} {outcome}" for outcome, count in self._totals.most_common())
        click.echo(totals or "nothing to replay", err=True)

"""What `hitline dead replay` prints: what became of each letter."""

from __future__ import annotations

from collections import Counter

import click

from deploy.cli.listing import StreamedJson
from deploy.cli.support import echo_foreign


class OutcomesOfReplay:
    """Prints each letter's outcome as it becomes known, and the totals."""

    def __init__(self, as_json: bool) -> None:
        self._json = StreamedJson() if as_json else None
        self._totals = Counter[str]()

    def add(self, letter_id: str, outcome: str) -> None:
        """Print a letter's outcome."""
        self._totals[outcome] += 1
        if self._json is not None:
            self._json.add({"id": letter_id, "end": outcome})
        else:
            echo_foreign(f"{letter_id}  {outcome}")

    def end(self) -> None:
        """Print the totals, or close the JSON."""
        if self._json is not None:
            self._json.end()
            return
        totals = ", ".join(f"{count} {outcome}" for outcome, count in self._totals.most_common())
        click.echo(totals or "nothing to replay", err=True)

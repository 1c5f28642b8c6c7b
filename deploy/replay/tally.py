"""What became of every line, with the first examples of each reason."""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from typing import Final, NamedTuple

#: Examples that are kept of each reason.
EXAMPLES: Final = 3
#: Reasons that are counted separately; further ones share one row, so that an odd log can't fill the memory.
_MAX_REASONS: Final = 200


class Fate(IntEnum):
    """The kinds of ends, in the order of the table."""

    ACCEPTED = 0
    REFUSED = 1
    LEFT_OUT = 2
    MALFORMED = 3
    NO_REQUEST = 4


class Reason(NamedTuple):
    """A row of the table."""

    fate: Fate
    text: str = ""


class Example(NamedTuple):
    """A line that came to some end."""

    log: str
    number: int
    line: bytes


class Tally:
    """Counts lines by what became of them."""

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter()
        self.examples: dict[Reason, list[Example]] = {}

    @property
    def lines(self) -> int:
        """All lines."""
        return sum(self.counts.values())

    def of(self, fate: Fate) -> int:
        """Return how many lines came to an end of this kind."""
        return sum(count for reason, count in self.counts.items() if reason.fate is fate)

    def add(self, reason: Reason, example: Example | None = None) -> None:
        """Count a line."""
        if reason not in self.counts and len(self.counts) >= _MAX_REASONS:
            reason = Reason(reason.fate, "other reasons")
        self.counts[reason] += 1
        if example is not None:
            kept = self.examples.setdefault(reason, [])
            if len(kept) < EXAMPLES:
                kept.append(example)

    def merge(self, other: Tally) -> None:
        """Add what another one counted, later lines than ours."""
        for reason, count in other.counts.items():
            self.counts[reason] += count
        for reason, examples in other.examples.items():
            kept = self.examples.setdefault(reason, [])
            kept.extend(examples[: EXAMPLES - len(kept)])

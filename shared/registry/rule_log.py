"""Which exclusion rules have changed since when, for those that compile them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Final, NamedTuple

from shared.registry.touched import Rule, Touched

#: Changes of the registry that are remembered.
_MOST: Final = 64


class RuleChanges(NamedTuple):
    """Rules that came into force or went, and sites that did, with all of their rules."""

    rules: Collection[Rule]
    owners: Collection[bytes]


class RuleLog:
    """Remembers the latest changes; `generation` grows with every one.

    Written on one thread and read on another: entries are appended whole, and a reader that misses one is told when it
    asks the next time, by the generation that it had.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[int, Touched]] = deque(maxlen=_MOST)
        self.generation = 0

    def add(self, touched: Touched) -> None:
        """Note what a change concerns."""
        self._entries.append((self.generation + 1, touched))
        self.generation += 1

    def since(self, generation: int) -> RuleChanges | None:
        """Return what has changed after that generation; None: too much to tell."""
        entries = [(number, touched) for number, touched in list(self._entries) if number > generation]
        if len(entries) < self.generation - generation or any(touched.all for _, touched in entries):
            return None
        return RuleChanges(
            set().union(*(touched.rules for _, touched in entries)),
            set().union(*(touched.come_or_gone for _, touched in entries)),
        )

"""A set of substrings to look for, all at once; what a look-up costs does not grow with their number.

Each pattern is indexed by four consecutive characters, those that the fewest patterns have; a text is
read once, and only patterns filed under four characters that occur in it are tried.  Shorter patterns are looked up
as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

_GRAM: Final = 4


class Substrings:
    """Patterns, in any case; of several that occur in a text, any one is found."""

    def __init__(self, patterns: Iterable[str]) -> None:
        folded = {pattern.casefold(): pattern for pattern in patterns if pattern}
        grams = Counter(gram for text in folded for gram in set(_grams(text, _GRAM)))
        self._filed: dict[str, list[tuple[str, str]]] = {}
        self._short: dict[int, dict[str, str]] = {}
        for text, pattern in folded.items():
            if len(text) < _GRAM:
                self._short.setdefault(len(text), {})[text] = pattern
            else:
                rarest = min(_grams(text, _GRAM), key=grams.__getitem__)
                self._filed.setdefault(rarest, []).append((text, pattern))

    def __len__(self) -> int:
        return sum(map(len, self._filed.values())) + sum(map(len, self._short.values()))

    def changed(self, added: Iterable[str], removed: Iterable[str]) -> Substrings:
        """Return these patterns with some added and others removed; an added one is filed where fewest are by now."""
        new = Substrings(())
        new._filed = dict(self._filed)
        new._short = {length: dict(patterns) for length, patterns in self._short.items()}
        for pattern in removed:
            new._remove(pattern.casefold())
        for pattern in added:
            new._remove(pattern.casefold())
            new._add(pattern.casefold(), pattern)
        return new

    def _add(self, text: str, pattern: str) -> None:
        if not text:
            return
        if len(text) < _GRAM:
            self._short.setdefault(len(text), {})[text] = pattern
            return
        gram = min(_grams(text, _GRAM), key=lambda gram: len(self._filed.get(gram, ())))
        self._filed[gram] = [*self._filed.get(gram, ()), (text, pattern)]

    def _remove(self, text: str) -> None:
        self._short.get(len(text), {}).pop(text, None)
        for gram in set(_grams(text, _GRAM)):
            if any(candidate == text for candidate, _ in self._filed.get(gram, ())):
                self._filed[gram] = [entry for entry in self._filed[gram] if entry[0] != text]

    def __bool__(self) -> bool:
        return bool(self._filed or self._short)

    def find(self, text: str) -> str | None:
        """Return a pattern that occurs in `text`."""
        text = text.casefold()
        for gram in _grams(text, _GRAM) if self._filed else ():
            for candidate, pattern in self._filed.get(gram, ()):
                if candidate in text:
                    return pattern
        for length, patterns in self._short.items():
            for gram in _grams(text, length):
                if gram in patterns:
                    return patterns[gram]
        return None


def _grams(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(len(text) - length + 1)]

"""A set of substrings to look for, all at once; what a look-up costs does not grow with their number.

Each pattern is indexed by four consecutive UTF-16 code units, those that the fewest patterns have; a text is read once,
and only patterns filed under four units that occur in it are tried.  Four units are one 64-bit number, so that a text's
bytes can be read as such numbers without making a string of each.  Shorter patterns are looked up as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

_UNITS: Final = 4
_UNIT_BYTES: Final = 2
_GRAM_BYTES: Final = _UNITS * _UNIT_BYTES


class Substrings:
    """Patterns, in any case; of several that occur in a text, any one is found."""

    def __init__(self, patterns: Iterable[str]) -> None:
        folded = {pattern.casefold(): pattern for pattern in patterns if pattern}
        grams = Counter(gram for text in folded for gram in set(_numbers(text)))
        self._filed: dict[int, list[tuple[str, str]]] = {}
        self._short: dict[int, dict[str, str]] = {}
        for text, pattern in folded.items():
            if (rarest := min(_numbers(text), key=grams.__getitem__, default=None)) is not None:
                self._filed.setdefault(rarest, []).append((text, pattern))
            else:
                self._short.setdefault(len(text), {})[text] = pattern

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
        gram = min(_numbers(text), key=lambda gram: len(self._filed.get(gram, ())), default=None)
        if gram is not None:
            self._filed[gram] = [*self._filed.get(gram, ()), (text, pattern)]
        elif text:
            self._short.setdefault(len(text), {})[text] = pattern

    def _remove(self, text: str) -> None:
        self._short.get(len(text), {}).pop(text, None)
        for gram in set(_numbers(text)):
            if any(candidate == text for candidate, _ in self._filed.get(gram, ())):
                self._filed[gram] = [entry for entry in self._filed[gram] if entry[0] != text]

    def __bool__(self) -> bool:
        return bool(self._filed or self._short)

    def find(self, text: str) -> str | None:
        """Return a pattern that occurs in `text`."""
        text, readings = _read(text)
        for numbers in readings if self._filed else ():
            if self._filed.keys().isdisjoint(numbers):
                continue
            for number in numbers:
                for candidate, pattern in self._filed.get(number, ()):
                    if candidate in text:
                        return pattern
        for length, patterns in self._short.items():
            for start in range(len(text) - length + 1):
                if (found := patterns.get(text[start : start + length])) is not None:
                    return found
        return None


@lru_cache(maxsize=1)  # the instance's patterns and the site's are looked for in the same text
def _read(text: str) -> tuple[str, list[list[int]]]:
    """Return a text in the case of the patterns, and the numbers that it is read as."""
    folded = text.casefold()
    return folded, [numbers.tolist() for numbers in _views(folded)]


def _numbers(text: str) -> Iterator[int]:
    for numbers in _views(text):
        yield from numbers


def _views(text: str) -> Iterator[memoryview[int]]:
    """Yield every four consecutive code units of a text as numbers: those at each fourth position, four times."""
    encoded = memoryview(text.encode("utf-16-le", "surrogatepass"))
    for start in range(0, _GRAM_BYTES, _UNIT_BYTES):
        whole = max(0, len(encoded) - start) // _GRAM_BYTES * _GRAM_BYTES
        yield encoded[start : start + whole].cast("Q")

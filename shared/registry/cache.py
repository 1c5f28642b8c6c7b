"""A cache of look-ups whose entries can be dropped one by one, which `functools.lru_cache` can't."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Remembers what `find` returned, for about `size` keys.

    Entries are in two generations: when the new one is full it becomes the old one, and the old one is forgotten but
    for what was asked for meanwhile.  So what is asked for often stays, and a hit costs one look into a dict.
    """

    def __init__(self, size: int, find: Callable[[Key], Value]) -> None:
        self._half = size // 2
        self._find = find
        self._new: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def __call__(self, key: Key) -> Value:
        """Return what `find` returns for the key."""
        try:
            return self._new[key]
        except KeyError:
            pass
        value = self._old[key] if key in self._old else self._find(key)
        if len(self._new) >= self._half:
            self._old, self._new = self._new, {}
        self._new[key] = value
        return value

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget these keys."""
        for key in keys:
            self._new.pop(key, None)
            self._old.pop(key, None)

    def drop_among(self, concerned: Callable[[dict[Key, Value]], list[Key]]) -> None:
        """Forget the entries that a change concerns: `concerned` lists their keys, out of tens of thousands."""
        for entries in (self._new, self._old):
            self.drop(concerned(entries))

    def clear(self) -> None:
        """Forget everything."""
        self._new, self._old = {}, {}

"""Paths as exclusions compare them: `/a` covers `/a` and `/a/b`, not `/ab`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote

#: Characters that a rule keeps escaped, so that reading it once more gives the same path.
_ESCAPED: Final = re.compile(r"[%?#\s]")


def comparable(path: str) -> str:
    """Return `path` percent-decoded once, its dot segments removed (RFC 3986 section 5.2.4), without trailing `/`.

    Decoding comes first, as servers do it: `/%61/%2e%2e/b` and `/b/` are both `/b`, and `%2F` separates like `/`.
    Case counts, empty segments inside too (`//a` is not `/a`).  The root is an empty string.
    """
    if "%" in path:
        path = unquote(path)
    if "/." in path:
        path = _without_dots(path)
    return path.rstrip("/")


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "".join(f"/{segment}" for segment in kept)


def escaped(path: str) -> str:
    """Return a rule's text for a comparable path: readable, and `comparable` makes the same path of it again."""
    return _ESCAPED.sub(lambda found: quote(found[0]), path) or "/"


class Prefixes:
    """A set of paths that each cover what is below them; a look-up costs a step a segment, however many there are."""

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules: Mapping[str, str] = {comparable(rule): rule for rule in rules}
        self._depth = max((path.count("/") for path in self._rules), default=0)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def find(self, path: str) -> str | None:
        """Return the longest rule that covers `path`, which is in the form that `comparable` returns."""
        segments = path.split("/", self._depth + 1)[: self._depth + 1]
        for count in range(len(segments), 0, -1):
            rule = self._rules.get("/".join(segments[:count]))
            if rule is not None:
                return rule
        return None

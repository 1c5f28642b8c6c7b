"""Which parameters of a query are stored, where a site's owner chooses: `hitline site --query-keep, --query-drop`."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count
from typing import Final

from worker.lookups.campaigns import HTML_AMPERSAND
from worker.lookups.escapes import decoded

#: What is looked at of a query; where there are rules, the rest is not stored.
_LONGEST_QUERY: Final = 8_192
_MOST_PARAMETERS: Final = 200
_LONGEST_PATTERN: Final = 200
_MOST_PATTERNS: Final = 200
#: Of a longer name only the beginning is compared.
_LONGEST_NAME: Final = 256
_SEPARATOR: Final = re.compile(f"({HTML_AMPERSAND}|&)", re.IGNORECASE)
#: What may be a parameter inside of what looks like a value.
_PART: Final = re.compile("[?;]*(?P<name>[^?;=]*)(?P<equals>=?)[^?;]*")
_INDEX: Final = re.compile(r"\[[^\[\]]*\]\Z")


def parse_pattern(text: str) -> str:
    """Return a pattern in the form that the registry keeps; raises `ValueError` with what is wrong about it.

    It is the name of a parameter, decoded, in any case; `*` stands for any text, also none.
    """
    pattern = text.strip().casefold()
    if not pattern:
        raise ValueError("is empty")
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"is longer than {_LONGEST_PATTERN} characters")
    if re.search(r"[&=\n]", pattern):
        raise ValueError("is not the name of a parameter: give the name alone, without & and =")
    return pattern


def parse_patterns(texts: Iterable[str]) -> tuple[str, ...]:
    """Parse several patterns, in order and without duplicates; raises `ValueError`."""
    patterns = tuple(dict.fromkeys(map(parse_pattern, texts)))
    if len(patterns) > _MOST_PATTERNS:
        raise ValueError(f"more than {_MOST_PATTERNS} patterns")
    return patterns


class QueryRules:
    """The patterns of one site.

    With `keep`, only what one of its patterns matches is stored; what a pattern of `drop` matches never is.
    """

    def __init__(self, keep: Iterable[str], drop: Iterable[str]) -> None:
        self._keep = _compiled(keep)
        self._drop = _compiled(drop)

    def stored(self, query: str) -> str:
        """Return the part of a query that is stored, as sent.

        A parameter that is not stored takes everything with it up to the next `&`: a `;` may separate or be in a value.
        """
        if len(query) > _LONGEST_QUERY:
            query = query[:_LONGEST_QUERY].rpartition("&")[0]
        return "".join(self._kept(_SEPARATOR.split(query, _MOST_PARAMETERS)[: 2 * _MOST_PARAMETERS]))

    def _kept(self, pieces: list[str]) -> Iterator[str]:
        separator = ""
        left = count(_MOST_PARAMETERS, -1)  # of all pieces together
        for number in range(0, len(pieces), 2):
            kept = self._allowed_part(pieces[number], left) if pieces[number] else ""
            if kept or (not pieces[number] and not self._keep):
                yield separator + kept
                separator = "&"
            if number + 1 < len(pieces) and separator:
                separator = pieces[number + 1]

    def _allowed_part(self, piece: str, left: Iterator[int]) -> str:
        """Return a parameter up to where another one begins in it that is not stored, or that is one too many."""
        length = 0
        for found in _PART.finditer(piece):
            name, equals = found["name"], found["equals"]
            if not found[0]:  # the end
                break
            if next(left) <= 0 or ((equals or not found.start()) and not self._allows(name)):
                return piece[:length]
            length = found.end()
        return piece

    def _allows(self, raw_name: str) -> bool:
        name = decoded(raw_name[: 3 * _LONGEST_NAME].replace("+", " "))[:_LONGEST_NAME].strip().casefold()
        # `filter[color]` is the parameter `filter`, too.
        base = _INDEX.sub("", name) if name.endswith("]") else name
        if self._drop and (self._drop.match(name) or self._drop.match(base)):
            return False
        return not self._keep or bool(self._keep.match(name) or self._keep.match(base))


def _compiled(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """Return one expression for all patterns; fnmatch's atomic groups take a time linear in the text's length."""
    texts = [fnmatch.translate(re.sub(r"([?\[])", r"[\1]", pattern)) for pattern in patterns]
    return re.compile("|".join(texts)) if texts else None


@lru_cache(maxsize=1_024)
def rules_of(keep: tuple[str, ...], drop: tuple[str, ...]) -> QueryRules | None:
    """Return a site's compiled rules, None if it has none."""
    return QueryRules(keep, drop) if keep or drop else None

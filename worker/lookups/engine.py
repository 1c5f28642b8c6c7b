"""Many patterns matched at once, by ua-parser's Rust engine, which first looks for the literals in them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from ua_parser_rs import UserAgentExtractor


def first_match(rules: Iterable[tuple[str, str]], *, version: bool = False) -> UserAgentExtractor:
    """Build an engine whose `extract` returns, of the first pattern that matches, its answer as `family`.

    With `version`, groups 2 and 3 of a pattern are `major` and `minor`.  Word boundaries are those of ASCII: for
    Unicode's, the engine falls back on a slow way as soon as a text has other characters.
    """
    return _compiled(tuple(rules), version)


@cache
def _compiled(rules: tuple[tuple[str, str], ...], version: bool) -> UserAgentExtractor:
    """Compile rules once a process, a tenth of a second: an engine has no state."""
    group = None if version else ""
    return UserAgentExtractor(
        (pattern.replace(r"\b", r"(?-u:\b)"), answer, group, group, group, group) for pattern, answer in rules
    )

"""Values as people call them; of countries and languages, the names of Unicode's CLDR, which Babel has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from babel import Locale

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "channel": {"ai": "AI assistants"},
    "device": {"tv": "TV"},
    "bot_kind": {
        "ai-training": "AI training",
        "ai-assistant": "AI assistants",
        "ai-search": "AI search",
        "seo": "SEO",
        "social-preview": "Social previews",
    },
}


def name_of(dimension: str, value: str) -> str:
    """Return how a value of this dimension is called; the value itself where it has no other name."""
    if dimension in _WORDS:
        return _WORDS[dimension].get(value) or value[:1].upper() + value[1:].replace("-", " ")
    return _NAMES[dimension](value) if dimension in _NAMES else value


def country(code: str) -> str:
    """Return the English name of an ISO 3166-1 code."""
    return str(_english().territories.get(code, code))


def place(value: str) -> str:
    """Return `Munich, Bavaria, Germany` for `DE/Bavaria/Munich`; names that have a slash themselves stay together."""
    code, _, rest = value.partition("/")
    parts = rest.split("/")
    if len(parts) != 2:
        return f"{rest}, {country(code)}" if code else rest
    region, city = parts
    names = (city, "" if region == city else region, country(code) if code else "")
    return ", ".join(name for name in names if name)


def language(tag: str) -> str:
    """Return `Portuguese (Brazil)` for the BCP 47 tag `pt-BR`; subtags without a name stay as they are."""
    english = _english()
    first, *others = tag.split("-")
    name = english.languages.get(first.lower())
    if name is None:
        return tag
    details = [str(english.scripts.get(part) or english.territories.get(part) or part) for part in others]
    return f"{name} ({', '.join(details)})" if details else str(name)


_NAMES: Final[Mapping[str, Callable[[str], str]]] = {"country": country, "city": place, "language": language}


@lru_cache(maxsize=1)
def _english() -> Locale:
    from babel import Locale  # its data take a moment to load, which no other command should wait for

    return Locale("en")

"""Campaign parameters of a query, also of links that were taken out of HTML with its escapes left in.

Decided where links go wrong (docs/enrichment.md has the table): names count in any case and with `[]` behind them; of
several values the first that is not empty counts; `?`, `;` and an escaped `&` separate where a wanted name follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final

from worker.lookups.escapes import decoded

UTM_NAMES: Final = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
QR_NAME: Final = "hk_qr"
#: Ids that advertising networks append to a link when it is clicked; see sources.py.
CLICK_IDS: Final = (
    "gclid", "gbraid", "wbraid", "dclid", "msclkid", "fbclid", "ttclid", "twclid", "li_fat_id", "yclid", "rdt_cid",
    "epik", "scclid",
)  # fmt: skip
WANTED: Final = frozenset((*UTM_NAMES, QR_NAME, *CLICK_IDS))

#: What is looked at of a query; no page has more, and each costs time.
_LONGEST_QUERY: Final = 8_192
_MOST_PARAMETERS: Final = 200
#: The longest wanted name with every letter escaped is shorter.
_LONGEST_NAME: Final = 64
#: `&amp;`, `&#38;` and `&#x26;`, as they are or percent-encoded: what HTML makes of `&`; and JSON's `\\u0026`.
HTML_AMPERSAND: Final = r"(?:&|%26)(?:amp|(?:#|%23)0*38|(?:#|%23)x0*26)(?:;|%3B)|(?:\\|%5C)u0026"
_HTML_AMPERSAND: Final = re.compile(HTML_AMPERSAND, re.IGNORECASE)
#: A fragment that is the rest of such a reference: what followed `&#`.
_CUT_REFERENCE: Final = re.compile(r"(?:0{0,9}38|x0{0,9}26);", re.IGNORECASE)
_PARAMETER: Final = re.compile(r"([&?;]?)([^&?;=]*)(=?[^&?;]*)")
_SUFFIX: Final = re.compile(r"\[[0-9]*\]\Z")
#: Characters that break lines or end strings: no campaign is called so.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def whole_query(query: str, fragment: str) -> str:
    """Return the query with what an HTML reference cut off it: of `?a=1&#038;b=2` the fragment is `038;b=2`."""
    rest = _CUT_REFERENCE.match(fragment) if query.endswith("&") else None
    return query + fragment[rest.end() :] if rest else query


def campaign_parameters(query: str, longest: int) -> dict[str, str]:
    """Return the parameters in `WANTED` by name, decoded (`%XX`, `+`; bytes that are not UTF-8 replaced) and trimmed.

    Of each value at least `longest` characters are decoded, where it has as many.
    """
    query = query[:_LONGEST_QUERY]
    lowered = query.lower()
    if not _may_have_any(lowered):
        return {}
    if "26" in lowered or "38" in lowered or "amp" in lowered:
        query = _HTML_AMPERSAND.sub("&", query)
    values: dict[str, str] = {}
    for name, value in _parameters(query):
        if not values.get(name):
            values[name] = _value(value, longest)
    return values


def _may_have_any(query: str) -> bool:
    """Return whether a query in lower case may have a name in `WANTED`; a pattern takes five times as long."""
    return (
        "%" in query  # it may hide a letter
        or "tm_" in query
        or "cl" in query
        or "_q" in query
        or "_f" in query
        or "_c" in query
        or "bra" in query
        or "epi" in query
    )


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    """Split a query into wanted names and their values as sent."""
    name, value = "", ""
    for separator, raw_name, rest in islice(map(re.Match.groups, _PARAMETER.finditer(query)), _MOST_PARAMETERS):
        found = _wanted(raw_name) if rest else ""
        if found or separator in ("&", ""):
            if name:
                yield name, value
            name, value = found, rest[1:]
        elif name:  # a `?` or `;` inside a value
            value += separator + raw_name + rest
    if name:
        yield name, value


def _wanted(raw_name: str) -> str:
    """Return the name in `WANTED` that is meant, empty for all others."""
    return _wanted_of(raw_name) if len(raw_name) <= _LONGEST_NAME else ""


@lru_cache(maxsize=2_048)
def _wanted_of(raw_name: str) -> str:
    name = decoded(raw_name).strip(" +")
    if name.endswith("]"):
        name = _SUFFIX.sub("", name)
    name = name.lower()
    return name if name in WANTED else ""


def _value(sent: str, longest: int) -> str:
    # A character takes up to twelve, escaped; with one more, an escape that this cuts in two is not in the result.
    value = decoded(sent[: 12 * (longest + 1)].replace("+", " "))
    return _CONTROL.sub(" ", value).strip()

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
#: Escaped names that are decoded: of those that are wanted none needs escapes, but for `[]`.
_MOST_ESCAPED_NAMES: Final = 32
#: The longest wanted name with every letter escaped is shorter.
_LONGEST_NAME: Final = 64
_REFERENCE: Final = r"(?:amp|(?:#|%23)(?:0*38|x0*26))(?:;|%3B)"
#: `&amp;`, `&#38;` and `&#x26;`, as they are or percent-encoded: what HTML makes of `&`; and JSON's `\\u0026`.  Each
#: alternative begins with a character: a search then skips others in a tenth of the time.
HTML_AMPERSAND: Final = rf"&{_REFERENCE}|%(?:26{_REFERENCE}|5Cu0026)|\\u0026"
_HTML_AMPERSAND: Final = re.compile(HTML_AMPERSAND, re.IGNORECASE)
#: A fragment that is the rest of such a reference: what followed `&#`.
_CUT_REFERENCE: Final = re.compile(r"(?:0{0,9}38|x0{0,9}26);", re.IGNORECASE)
_PARAMETER: Final = re.compile(r"([&?;]?)([^&?;=]*)(=?[^&?;]*)")
_SUFFIX: Final = re.compile(r"\[[0-9]*\]\Z")
#: Characters at the end of a decoded value that may be another if it was cut off: parts of an escape, bytes that
#: are not UTF-8 without those behind them.
_CUT: Final = 8
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
    lowered = _lowered(query)
    if not _may_have_any(lowered):
        return {}
    if "26" in lowered or "38" in lowered or "amp" in lowered:
        # Each separates parameters, so behind as many nothing is read.
        query = _HTML_AMPERSAND.sub("&", query, count=_MOST_PARAMETERS)
    values: dict[str, str] = {}
    for name, value in _parameters(query):
        if not values.get(name):
            values[name] = _value(value, longest)
    return values


def _lowered(query: str) -> str:
    """Return a query's ASCII characters in lower case: no other occurs in what is looked for, and some take long."""
    return query.lower() if query.isascii() else query.encode("ascii", "ignore").decode().lower()


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
    escaped = _MOST_ESCAPED_NAMES
    for separator, raw_name, rest in islice(map(re.Match.groups, _PARAMETER.finditer(query)), _MOST_PARAMETERS):
        found = ""
        if rest:
            is_escaped = "%" in raw_name
            escaped -= is_escaped
            found = "" if is_escaped and escaped < 0 else _wanted(raw_name)
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
    # An escaped character takes three to twelve: most values are long enough with the least.
    value = _cleaned(sent[: 3 * (longest + _CUT)])
    if len(value) >= longest + _CUT or len(sent) <= 3 * (longest + _CUT):
        return value
    return _cleaned(sent[: 12 * (longest + 1)])


def _cleaned(sent: str) -> str:
    return _CONTROL.sub(" ", decoded(sent.replace("+", " "))).strip()

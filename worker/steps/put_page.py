"""What was looked at: path and query of the URL, its campaign parameters and QR code."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_plus
from uuid import UUID

from shared.pageview import QueuedPageview
from worker.lengths import CACHED_LENGTH, PATH, QUERY, UTM, cut, cut_encoded
from worker.lookups.paths import comparable


class Page(NamedTuple):
    """The parts of a URL; `path` and `query` as sent, the parameters decoded, `qr_id` as an integer.

    `rule_path` is the path in the form that exclusions compare; it is no column.
    """

    path: str
    query: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    utm_term: str
    utm_content: str
    qr_id: int | None
    rule_path: str


_UTM_NAMES: Final = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
_QR_NAME: Final = "hk_qr"
_WANTED: Final = frozenset((*_UTM_NAMES, _QR_NAME))
#: A query without any of these has no parameter to read (`%` may hide a letter of a name).
_MAY_HAVE: Final = re.compile(r"utm_|hk_qr|%")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}")


def put_page(pageview: QueuedPageview) -> Page:
    """Return the parts of the pageview's URL."""
    url = pageview.url
    return _cached(url) if len(url) <= CACHED_LENGTH else parse_page(url)


def parse_page(url: str) -> Page:
    """Take a URL apart: everything behind the authority up to `?` is path (at least `/`), up to `#` the query."""
    base, _, query = url.partition("#")[0].partition("?")
    start = base.find("/", base.find("://") + 3)
    path = base[start:] if start >= 0 else "/"
    values = _parameters(query) if _MAY_HAVE.search(query) else {}
    source, medium, campaign, term, content = (cut(values.get(name, ""), UTM, name) for name in _UTM_NAMES)
    return Page(
        cut_encoded(path, PATH, "path"),
        cut_encoded(query, QUERY, "query"),
        source,
        medium,
        campaign,
        term,
        content,
        _uuid(values.get(_QR_NAME, "")),
        comparable(path),
    )


_cached = lru_cache(maxsize=16_384)(parse_page)


def _parameters(query: str) -> dict[str, str]:
    """Return the first value of each parameter that has a column, decoded (invalid UTF-8 replaced) and trimmed."""
    values: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if "%" in name:
            name = unquote_plus(name)
        if name in _WANTED and name not in values:
            values[name] = unquote_plus(value).strip()
    return values


def _uuid(text: str) -> int | None:
    """Return a UUID's value; none when it is malformed or nil."""
    return UUID(text).int or None if _UUID.fullmatch(text) else None

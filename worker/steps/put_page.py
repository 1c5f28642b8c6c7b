"""What was looked at: path and query of the URL, its campaign parameters and QR code."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from shared.metrics import TRUNCATED
from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.lengths import CACHED_LENGTH, PATH, QUERY, UTM, cut, cut_encoded
from worker.lookups.campaigns import CLICK_IDS, QR_NAME, UTM_NAMES, campaign_parameters, whole_query
from worker.lookups.paths import canonical, comparable
from worker.lookups.query_rules import QueryRules, rules_of


class Page(NamedTuple):
    """The parts of a URL: `path` canonical, `query` as sent, the parameters decoded, `qr_id` as an integer.

    Where the site has rules, `query` is what they leave.  Not columns: `rule_path`, the path as exclusions compare it;
    whether there is any utm parameter; and the name of the first click id, such as `gclid`.
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
    has_campaign: bool
    click_id: str


#: Characters of a path that are made canonical.  No path that is shorter than its column is cut by this, unless dot
#: segments, or escapes of letters that need none (which no browser sends), take half of it away.
_PATH_READ: Final = 2 * PATH
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}")


def put_page(pageview: QueuedPageview, site: Site) -> Page:
    """Return the parts of the pageview's URL, as the site's options have them."""
    url = pageview.url
    if site.hash_paths or site.query_keep or site.query_drop:
        rules = rules_of(site.query_keep, site.query_drop)
        parse = _cached_with_options if len(url) <= CACHED_LENGTH else parse_page
        return parse(url, rules, site.hash_paths)
    return _cached(url) if len(url) <= CACHED_LENGTH else parse_page(url)


def parse_page(url: str, rules: QueryRules | None = None, hash_paths: bool = False) -> Page:
    """Take a URL apart: everything behind the authority up to `?` is path (at least `/`), up to `#` the query.

    With `hash_paths`, a fragment that is a path (`#/…`, `#!/…`) belongs to the path, and its query to the query.  Of
    the query is stored what `rules` allow; campaigns and click ids are read before.
    """
    rest, _, fragment = url.partition("#")
    base, _, query = rest.partition("?")
    start = base.find("/", base.find("://") + 3)
    sent = base[start:] if start >= 0 else "/"
    query_read = whole_query(query, fragment)
    if hash_paths and fragment.startswith(("/", "!/")):
        behind, _, more = fragment.partition("#")[0].partition("?")
        sent = f"{_path(sent)}#{behind}"
        query = query_read = "&".join(filter(None, (query, more)))
    path = _path(sent)
    stored = cut_encoded(path, PATH, "path")
    values = campaign_parameters(query_read, UTM)
    if rules:
        query = rules.stored(query)
    source, medium, campaign, term, content = (cut(values.get(name, ""), UTM, name) for name in UTM_NAMES)
    return Page(
        stored,
        cut_encoded(query, QUERY, "query"),
        source,
        medium,
        campaign,
        term,
        content,
        _uuid(values.get(QR_NAME, "")),
        comparable(stored),
        any(values.get(name) for name in UTM_NAMES),
        next((name for name in CLICK_IDS if values.get(name)), ""),
    )


def _path(sent: str) -> str:
    path = _canonical_beginning(sent)
    if len(sent) > _PATH_READ and len(path) <= PATH:
        TRUNCATED.labels("path").inc()
    return path


def _canonical_beginning(sent: str) -> str:
    """Return the canonical form of what is read of a path, in two parts where the first suffices for nearly all."""
    sent = sent[:_PATH_READ]
    boundary = sent.rfind("/", PATH // 2, PATH + 1) if len(sent) > PATH else -1
    if boundary < 0 or "#" in sent or "\ufffd" in sent or _may_have_dot_segments(sent):
        return canonical(sent)
    path = canonical(sent[:boundary])
    # Text only grows but for escaped letters and U+FFFD; nothing but dot segments goes past a slash.
    return path if len(path) > PATH else path + canonical(sent[boundary:])


def _may_have_dot_segments(sent: str) -> bool:
    return "/." in sent or "%2e" in sent or "%2E" in sent


_cached = lru_cache(maxsize=16_384)(parse_page)
_cached_with_options = lru_cache(maxsize=16_384)(parse_page)


def _uuid(text: str) -> int | None:
    """Return a UUID's value, none when it is malformed or nil; a slash behind it comes from links made by hand."""
    text = text.rstrip("/")
    return UUID(text).int or None if _UUID.fullmatch(text) else None

"""From a log's request to the pageview that the gateway takes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from deploy.replay import fields
from deploy.replay.entry import Entry, Malformed
from deploy.replay.ids import Ids

#: What a URL must not hold as it is; the gateway refuses control characters.
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f]")
#: The user agent of a visitor without one, and of logs that have none (docs/api.md).
NO_AGENT: Final = "-"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class NoHost(Malformed):
    """Neither the line nor `--site-url` names a host."""


class Site(NamedTuple):
    """Scheme and host for lines that name none."""

    scheme: str
    host: str

    @classmethod
    def of(cls, url: str | None) -> Site:
        """Return those of `--site-url`; raises `ValueError`."""
        if url is None:
            return cls("", "")
        parts = urlsplit(url if "://" in url else f"https://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must look like https://example.com")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("must be scheme and host only: paths are the log's")
        return cls(parts.scheme, fields.host(parts.netloc.rpartition("@")[2]))


def url_of(entry: Entry, site: Site) -> str:
    """Return the page's URL; raises `Malformed` where nothing names a host."""
    target = _UNSAFE.sub(lambda match: quote(match[0], safe=""), entry.target)
    scheme, host = entry.scheme, entry.host
    if not target.startswith("/"):
        scheme, _, rest = target.partition("://")
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        host = fields.host(authority.rpartition("@")[2])
        target = rest[len(authority) :]
        target = target if target.startswith("/") else f"/{target}"
    scheme = scheme.lower() or site.scheme or "https"
    host = host or site.host
    if not host:
        raise NoHost("no host in the log: give --site-url https://…")
    return f"{scheme}://{host}{target}"


def to_pageview(entry: Entry, url: str, ids: Ids) -> dict[str, Any]:
    """Return the item for `POST /api/ingest/server/pageviews`; an absent user agent is `-`."""
    moment = _EPOCH + timedelta(milliseconds=entry.time_ms)
    pageview: dict[str, Any] = {
        "url": url,
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "visitor_ip": entry.address,
        "user_agent": entry.user_agent.strip() or NO_AGENT,
        "session_id": ids.session_id,
        "page_id": ids.page_id,
    }
    if entry.referrer:
        pageview["referrer"] = entry.referrer
    if entry.language:
        pageview["language"] = entry.language
    if entry.do_not_track:
        pageview["dnt"] = True
    return pageview

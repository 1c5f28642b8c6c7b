"""Where a visitor came from.

A pageview is a self-referral when its `referrer_host` equals its `hostname`: both have the same normal form.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from shared.hostnames import BadHostname, normalise
from shared.pageview import QueuedPageview
from worker.lengths import CACHED_LENGTH, REFERRER, cut_encoded


class Referrer(NamedTuple):
    """The referrer as sent, trimmed, and the normalised hostname in it (empty where there is none)."""

    referrer: str
    referrer_host: str


NO_REFERRER: Final = Referrer("", "")

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|//")
_AUTHORITY_END: Final = re.compile(r"[/?#\\]")
_PORT: Final = re.compile(r":([0-9]*)\Z")


def put_referrer(pageview: QueuedPageview) -> Referrer:
    """Return the pageview's referrer."""
    text = pageview.referrer
    if not text:
        return NO_REFERRER
    return _cached(text) if len(text) <= CACHED_LENGTH else parse_referrer(text)


def parse_referrer(text: str) -> Referrer:
    """Split off the hostname: of a URL, of `//host/path`, or of a bare `host.example/path` with a dot in the host."""
    text = text.strip()
    return Referrer(cut_encoded(text, REFERRER, "referrer"), _host(text))


_cached = lru_cache(maxsize=16_384)(parse_referrer)


def _host(text: str) -> str:
    scheme = _SCHEME.match(text)
    authority = _AUTHORITY_END.split(text[scheme.end() :] if scheme else text, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    port = _PORT.search(host)
    if port:
        if len(port[1]) > 5 or int(port[1] or 0) > 65_535:
            return ""
        host = host[: port.start()]
    if scheme is None and ("@" in authority or "." not in host):
        return ""  # `mailto:a@b.example`, `about:blank`, `-` and other words name no host
    if len(host) > 253 * 4:
        return ""
    try:
        return normalise(host)
    except BadHostname:
        return ""

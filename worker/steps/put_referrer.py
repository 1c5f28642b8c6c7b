"""Where a visitor came from.

A pageview is a self-referral when its `referrer_host` equals its `hostname`: both have the same normal form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from shared.pageview import QueuedPageview
from worker.lengths import CACHED_LENGTH, REFERRER, cut_encoded
from worker.lookups.referrers import host_of


class Referrer(NamedTuple):
    """The referrer as sent, trimmed, and the normalised hostname in it (empty where there is none)."""

    referrer: str
    referrer_host: str


NO_REFERRER: Final = Referrer("", "")


def put_referrer(pageview: QueuedPageview) -> Referrer:
    """Return the pageview's referrer."""
    text = pageview.referrer
    if not text:
        return NO_REFERRER
    return _cached(text) if len(text) <= CACHED_LENGTH else parse_referrer(text)


def parse_referrer(text: str) -> Referrer:
    """Find the host, in all that is sent; see `worker.lookups.referrers`."""
    text = text.strip()
    return Referrer(cut_encoded(text, REFERRER, "referrer"), host_of(text))


_cached = lru_cache(maxsize=16_384)(parse_referrer)

"""How long stored strings may be, and the cut that keeps them so.

Lengths are in characters (Unicode code points), so a cut never splits a character's bytes.  What is cut is counted by
column (metric `hitline_truncated_total`), every time: strings that long are in no cache (see `CACHED_LENGTH`).
"""

from __future__ import annotations

import re
from typing import Final

from shared.metrics import TRUNCATED

PATH: Final = 2_048
QUERY: Final = 4_096
REFERRER: Final = 2_048
UTM: Final = 512
USER_AGENT: Final = 1_024
#: RFC 5646 section 4.4.1: room for any tag without extensions.
LANGUAGE: Final = 35
#: Names of regions, cities and networks; they come from databases, not from visitors.
PLACE: Final = 255

#: URLs and referrers longer than this are worked out anew each time, which bounds the memory that caches take.  It is
#: no longer than any column cut from them, so whatever is cut is seen, and counted, every time.
CACHED_LENGTH: Final = min(PATH, QUERY, REFERRER, UTM)

_BROKEN_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]?\Z")


def cut(text: str, limit: int, column: str) -> str:
    """Return at most `limit` characters of `text`; counts when that is less than all."""
    if len(text) <= limit:
        return text
    TRUNCATED.labels(column).inc()
    return text[:limit]


def cut_encoded(text: str, limit: int, column: str) -> str:
    """Like `cut` for percent-encoded text: an escape such as `%C3` is kept whole or left out."""
    if len(text) <= limit:
        return text
    return _BROKEN_ESCAPE.sub("", cut(text, limit, column))

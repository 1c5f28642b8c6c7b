"""The greatest lengths of stored strings, and how longer ones are cut.

Lengths are in characters (Unicode code points), so a cut never splits a character's bytes.  Every cut is
counted by column (metric `hitline_truncated_total`): strings that long are never cached (see `CACHED_LENGTH`).
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
#: Bytes of UTF-8 that patterns and rules look at of a user agent that is not ASCII; real ones are much shorter.
_AGENT_BYTES: Final = 768
#: RFC 5646 section 4.4.1: enough for any tag without extensions.
LANGUAGE: Final = 35
#: Names of regions, cities and networks; they come from databases, not from visitors.
PLACE: Final = 255

#: URLs and referrers longer than this are parsed each time, which bounds the memory of the caches.  No column cut from
#: them is shorter, so every cut is counted.
CACHED_LENGTH: Final = min(PATH, QUERY, REFERRER, UTM)

_BROKEN_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]?\Z")


def cut(text: str, limit: int, column: str) -> str:
    """Return at most `limit` characters of `text`; counts a cut under `column`."""
    if len(text) <= limit:
        return text
    TRUNCATED.labels(column).inc()
    return text[:limit]


def cut_encoded(text: str, limit: int, column: str) -> str:
    """Like `cut` for percent-encoded text: an escape such as `%C3` is kept whole or left out."""
    if len(text) <= limit:
        return text
    broken = _BROKEN_ESCAPE.search(cut(text, limit, column), limit - 2)
    return text[: broken.start() if broken else limit]


def read_agent(user_agent: str) -> str:
    """Return what patterns and rules look at of a user agent: of ASCII, all that is stored.

    As many other characters have up to four times the bytes, and matching them costs several times more.
    """
    user_agent = user_agent[:USER_AGENT]
    if user_agent.isascii():
        return user_agent
    return user_agent.encode(errors="replace")[:_AGENT_BYTES].decode(errors="ignore")

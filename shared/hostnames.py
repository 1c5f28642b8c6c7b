"""The normal form of hostnames, shared by the gateway (404, 403), the worker (which decides) and `hitline site`."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from ada_url import idna

#: Letters, digits, hyphens and underscores (the latter occur in practice), labels of 1 to 63, 253 in all.
_ASCII_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_IPV6_HOST: Final = re.compile(r"\[[0-9a-f:.]+\]")
#: 253 characters (RFC 1035 section 2.3.4) and a trailing dot.  Longer text is refused before anything is done with it.
LONGEST: Final = 254
#: A label that begins or ends with a hyphen (RFC 5891 section 4.2.3.1), between any of UTS 46's four full stops.
_HYPHEN_AT_END: Final = re.compile("(?:^|[.\u3002\uff0e\uff61])-|-(?:[.\u3002\uff0e\uff61]|$)")


class BadHostname(ValueError):
    """The text is not a hostname; the message says why, without quoting it."""


def normalise(host: str) -> str:
    """Return the form that sites are looked up by.

    Lower case, IDN to punycode (UTS 46, as browsers do), one leading `www.` and one trailing dot removed.
    An IPv6 literal keeps its brackets.  Raises `BadHostname`.
    """
    if len(host) > LONGEST:
        raise BadHostname("is longer than a hostname can be")
    name = _normalised(host)
    if not name:
        raise BadHostname("is not a valid hostname")
    return name


@lru_cache(maxsize=65_536)
def _normalised(host: str) -> str:
    """Return the normal form, empty for what is not a hostname: failures are cached as well."""
    name = host.lower()
    if not name.isascii():
        name = _to_ascii(name)
    name = name.removesuffix(".")
    if _IPV6_HOST.fullmatch(name):
        return name
    if not _ASCII_HOST.fullmatch(name):
        return ""
    return name.removeprefix("www.") or name


def _to_ascii(name: str) -> str:
    """Convert by UTS 46 as browsers do, which knows emoji; empty for what has no such form."""
    if _HYPHEN_AT_END.search(name):
        return ""
    try:
        # Composed first: ada leaves combining marks in the order in which they come.
        return idna.encode(unicodedata.normalize("NFC", name)).decode("ascii")
    except UnicodeError:  # half of a surrogate pair
        return ""


def parents(host: str) -> list[str]:
    """Return `host`'s parent domains, longest first: `a.b.c` gives `["b.c", "c"]`."""
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(1, len(labels))]

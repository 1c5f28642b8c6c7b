"""The normal form of hostnames, shared by the gateway (404, 403), the worker (which decides) and `hitline site`."""

from __future__ import annotations

import re
from functools import lru_cache

import idna

#: Letters, digits, hyphens and underscores (the latter occur in practice), labels of 1 to 63, 253 in all.
_ASCII_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_IPV6_HOST = re.compile(r"\[[0-9a-f:.]+\]")
#: Characters of a name that is not worth converting, which takes quadratic time.
_LONGEST = 254
_JOINER = re.compile("[\u200c\u200d]")


class BadHostname(ValueError):
    """The text is not a hostname; the message says why, without quoting it."""


@lru_cache(maxsize=65_536)
def normalise(host: str) -> str:
    """Return the form that sites are looked up by.

    Lower case, IDN to punycode (UTS 46, as browsers do), one leading `www.` and one trailing dot removed.
    An IPv6 literal keeps its brackets.  Raises `BadHostname`.
    """
    name = host.lower()
    if not name.isascii():
        name = _to_punycode(name)
    name = name.removesuffix(".")
    if _IPV6_HOST.fullmatch(name):
        return name
    if not _ASCII_HOST.fullmatch(name):
        raise BadHostname("is not a valid hostname")
    return name.removeprefix("www.") or name


def _to_punycode(name: str) -> str:
    """Convert according to UTS 46; ASCII labels stay as they are, since DNS allows more of them than IDNA."""
    if len(name) > _LONGEST:
        raise BadHostname("is not a valid hostname")
    try:
        labels = idna.uts46_remap(name, std3_rules=False, transitional=False).split(".")
        return ".".join(label if label.isascii() else _to_a_label(label) for label in labels)
    except (idna.IDNAError, UnicodeError):
        raise BadHostname("is not a valid internationalised hostname") from None


def _to_a_label(label: str) -> str:
    try:
        return idna.alabel(label).decode("ascii")
    except idna.InvalidCodepoint:  # IDNA 2008 has no symbols; UTS 46, and with it browsers and registries, has emoji
        if _JOINER.search(label):
            raise
        idna.check_bidi(label)
        return "xn--" + label.encode("punycode").decode("ascii")


def parents(host: str) -> list[str]:
    """Return `host`'s parent domains, longest first: `a.b.c` gives `["b.c", "c"]`."""
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(1, len(labels))]

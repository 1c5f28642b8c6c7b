"""What the Public Suffix List (https://publicsuffix.org) says of a hostname."""

from __future__ import annotations

from functools import cache
from typing import Final

from publicsuffixlist import PublicSuffixList

_INSTANCE: Final = cache(lambda: PublicSuffixList(accept_unknown=False))


def is_public_suffix(host: str) -> bool:
    """Tell whether names of different owners are registered directly below `host`: `ua`, `kharkov.ua`, `github.io`."""
    return _INSTANCE().publicsuffix(host) == host


def has_known_suffix(host: str) -> bool:
    """Tell whether `host` has a dot and ends in a public suffix, as names in public use do; `index.html` does not."""
    return "." in host and _INSTANCE().publicsuffix(host) is not None


def registered_name(host: str) -> str:
    """Return the label below the public suffix: `google` of `www.google.co.uk`; empty if there is none."""
    registered = _INSTANCE().privatesuffix(host)
    return registered.partition(".")[0] if registered else ""

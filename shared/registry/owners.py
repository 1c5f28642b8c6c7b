"""Which site a hostname belongs to: the one that lists it, else the one with the longest matching wildcard.

The gateway, the workers, `hitline explain` and `hitline site` all decide with this one rule.  Of several sites that
list the same hostname the oldest owns it; the lookup that is passed in decides that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.hostnames import parents

Owner = TypeVar("Owner")


def candidates(hostname: str) -> list[str]:
    """Return the hostnames to look up for `hostname`, best match first: itself, then `*.parent` from the longest on.

    A wildcard is itself covered by wildcards of its parents only: `*.a.b` gives `["*.a.b", "*.b"]`.
    """
    return [hostname, *(f"*.{parent}" for parent in parents(hostname.removeprefix("*.")))]


def find_owner(hostname: str, find_listing: Callable[[str], Owner | None]) -> Owner | None:
    """Return what `find_listing` finds for the best match of a normalised hostname, or None if nothing matches.

    `find_listing` takes a hostname as sites list it (exact, or `*.domain`) and returns the oldest site that does.
    """
    if (owner := find_listing(hostname)) is not None:  # most are listed; wildcards are made up for the others only
        return owner
    for candidate in candidates(hostname)[1:]:
        if (owner := find_listing(candidate)) is not None:
            return owner
    return None


def covering(host: str) -> tuple[str, ...]:
    """Return what a site may list that has a normalised host as its own: the host, the names above, and wildcards."""
    return tuple(name for parent in (host, *parents(host)) for name in (parent, f"*.{parent}"))

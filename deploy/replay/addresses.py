"""The visitor's address as logs write it: with a port, in brackets, in a list."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from deploy.replay.entry import Malformed

#: Addresses of a list that are looked at.
_MAX_LIST: Final = 32


@lru_cache(maxsize=65_536)
def parse(text: str) -> str | None:
    """Return an address in canonical form without port, brackets and zone; None for anything else."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    found = _canonical(text)
    if found is None and ":" in text:
        # AWS writes IPv6 with a port and without brackets: 2001:db8::1:443 is tried as it is first.
        found = _canonical(text.rpartition(":")[0])
    return found


def _canonical(text: str) -> str | None:
    try:
        address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def with_port(text: str) -> str | None:
    """Return the address of `address:port`, where the port is there for certain."""
    host, colon, port = text.rpartition(":")
    return parse(host) if colon and port.isdigit() else parse(text)


def first_of(text: str) -> str | None:
    """Return the first address of a list as `X-Forwarded-For` has it: the client, as the first proxy saw it."""
    for part in text.split(",", maxsplit=_MAX_LIST)[:_MAX_LIST]:
        if found := parse(part):
            return found
    return None


def visitor(address: str | None) -> str:
    """Return the address; raises `Malformed` if there is none."""
    if address is None:
        raise Malformed("no visitor address (a host name, or nothing)")
    return address

"""IP addresses as numbers."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

#: The longest textual form (RFC 4291 section 2.2, with an embedded IPv4 address).
_LONGEST: Final = 45


class Address(NamedTuple):
    """An address: `bits` is 32 or 128; `is_public` is false for private, reserved and multicast ones."""

    text: str
    bits: int
    value: int
    is_public: bool


@lru_cache(maxsize=65_536)
def parse_address(text: str) -> Address | None:
    """Read an address, none when it is malformed; a v4-mapped v6 one counts as v4."""
    if len(text) > _LONGEST:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return Address(str(address), address.max_prefixlen, int(address), _is_public(address))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell addresses of the public Internet from the IANA special-purpose registries' and multicast ones."""
    return address.is_global and not address.is_multicast and not address.is_reserved

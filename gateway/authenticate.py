"""Who sent a request: the API client of its token, and its client address."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

from aiohttp import hdrs
from aiohttp.web_request import BaseRequest
from multidict import istr

from gateway.registry_age import RegistryAge
from gateway.replies import Reason, Rejected
from gateway.settings import Network
from shared.registry import Client, Replica, token_hash

#: Names of headers are looked up quickest as `istr`, whose lower case is known; `aiohttp.hdrs` has the usual ones.
API_KEY: Final = istr("X-API-Key")
#: Far longer than any token that Hitline creates; a longer one is wrong without hashing it.
_MAX_TOKEN: Final = 512
#: A longer chain of proxies is not plausible, and is not read.
_MOST_HOPS: Final = 32
_FORWARDED_FOR: Final = re.compile(r'(?:^|;)\s*for=("[^"]*"|[^;"\s]+)', re.IGNORECASE)


def authenticate(request: BaseRequest, registry: Replica, age: RegistryAge) -> Client:
    """Return the API client of the request's token.

    `Authorization: Bearer TOKEN` (RFC 6750; the scheme in any case) takes precedence over `X-API-Key: TOKEN`.  Raises
    `Rejected`: no token, an unknown or revoked one (401), or no registry that can decide this (503).
    """
    token = _token(request)
    if token is None:
        raise Rejected(Reason.NO_TOKEN)
    if age.too_old:
        raise Rejected(Reason.OLD_REGISTRY)
    client = registry.find_client(token_hash(token)) if len(token) <= _MAX_TOKEN else None
    if client is not None:
        return client
    if registry.empty:  # no token can be checked yet: our fault, not the client's
        raise Rejected(Reason.NO_REGISTRY)
    raise Rejected(Reason.BAD_TOKEN)


def _token(request: BaseRequest) -> str | None:
    authorization = request.headers.get(hdrs.AUTHORIZATION)
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
    key = request.headers.get(API_KEY, "").strip()
    return key or None


class ClientAddress:
    """Finds the address that a request came from; believes `Forwarded` and `X-Forwarded-For` of trusted proxies only.

    What comes through a Unix socket comes from a proxy on the same machine, which is trusted.
    """

    def __init__(self, trusted: tuple[Network, ...]) -> None:
        self._trusted = trusted
        self._is_trusted = lru_cache(maxsize=1024)(self._check)

    def of(self, request: BaseRequest) -> str:
        """Return the nearest address that is not a trusted proxy; for IPv6 its /64, which is one household or host."""
        nearest = _unmapped(request.remote or "")
        if self.is_trusted(nearest):
            written = [hops for hops in (_forwarded(request), _x_forwarded_for(request)) if hops]
            # A proxy writes one of the two and may pass on the other as a client made it up: then neither is believed.
            found = {self._nearest(nearest, hops) for hops in written}
            nearest = found.pop() if len(found) == 1 else nearest
        return network_of(nearest)

    def _nearest(self, address: str, hops: list[str]) -> str:
        for hop in reversed(hops):
            if not _is_address(hop):
                break
            address = hop
            if not self.is_trusted(hop):
                break
        return address

    def is_trusted(self, address: str) -> bool:
        """Return whether an address is a trusted proxy's; a Unix socket has none (`""`)."""
        return not address or (bool(self._trusted) and self._is_trusted(address))

    def _check(self, address: str) -> bool:
        return _is_address(address) and any(ipaddress.ip_address(address) in network for network in self._trusted)


def _forwarded(request: BaseRequest) -> list[str]:
    """Return the addresses in `Forwarded` (RFC 7239), the client's first; other values are returned unchanged."""
    elements = ",".join(request.headers.getall("Forwarded", ())).split(",")
    found = [_FORWARDED_FOR.search(element) for element in elements if element.strip()]
    return _addresses([each[1] if each else "" for each in found])


def _x_forwarded_for(request: BaseRequest) -> list[str]:
    """Do the same for `X-Forwarded-For`."""
    return _addresses(",".join(request.headers.getall("X-Forwarded-For", ())).split(","))


def _addresses(hops: list[str]) -> list[str]:
    stripped = [hop.strip().strip('"') for hop in hops[-_MOST_HOPS:]]
    while stripped and not stripped[-1]:  # a trailing comma
        stripped.pop()
    return [_unmapped(_without_port(hop)) for hop in stripped]


def _without_port(hop: str) -> str:
    """Return the address of `192.0.2.1:443`, `[2001:db8::1]:443` or `[2001:db8::1]`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _unmapped(address: str) -> str:
    """Return an IPv4-mapped IPv6 address as IPv4 (else all of IPv4 would share one /64), anything else unchanged."""
    if ":" not in address or not _is_address(address):
        return address
    return str(ipaddress.IPv6Address(address).ipv4_mapped or address)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def network_of(address: str) -> str:
    """Return an IPv4 address as it is, and the /64 of an IPv6 address, which is one household or host."""
    address = _unmapped(address)
    if ":" not in address or not _is_address(address):
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))

"""Who sent a request: the API client of its token, and its client address."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from aiohttp.web_request import BaseRequest

from gateway.replies import Reason, Rejected
from gateway.settings import Network
from shared.registry import Client, Replica, token_hash

#: Far longer than any token that Hitline creates; a longer one is wrong without hashing it.
_MAX_TOKEN = 512


def authenticate(request: BaseRequest, registry: Replica) -> Client:
    """Return the API client of the request's token.

    `Authorization: Bearer TOKEN` (RFC 6750; the scheme in any case) takes precedence over `X-API-Key: TOKEN`.  Raises
    `Rejected`: no token, an unknown or revoked one (401), or no registry yet (503).
    """
    token = _token(request)
    if token is None:
        raise Rejected(Reason.NO_TOKEN)
    client = registry.find_client(token_hash(token)) if len(token) <= _MAX_TOKEN else None
    if client is not None:
        return client
    if registry.empty:  # no token can be checked yet: our fault, not the client's
        raise Rejected(Reason.NO_REGISTRY)
    raise Rejected(Reason.BAD_TOKEN)


def _token(request: BaseRequest) -> str | None:
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
    key = request.headers.get("X-API-Key", "").strip()
    return key or None


class ClientAddress:
    """Finds the address that a request came from; trusts `X-Forwarded-For` only from trusted proxies."""

    def __init__(self, trusted: tuple[Network, ...]) -> None:
        self._trusted = trusted
        self._is_trusted = lru_cache(maxsize=1024)(self._check)

    def of(self, request: BaseRequest) -> str:
        """Return the nearest address that is not a trusted proxy; for IPv6 its /64, which is one household or host."""
        nearest = _unmapped(request.remote or "")
        if self._trusted and self._is_trusted(nearest):
            hops = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
            for hop in reversed([_unmapped(hop.strip()) for hop in hops]):
                if not _is_address(hop):
                    break
                nearest = hop
                if not self._is_trusted(hop):
                    break
        return _network_of(nearest)

    def _check(self, address: str) -> bool:
        return _is_address(address) and any(ipaddress.ip_address(address) in network for network in self._trusted)


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


def _network_of(address: str) -> str:
    if ":" not in address or not _is_address(address):
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))

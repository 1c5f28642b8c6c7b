"""The gateway's settings; each is read from the environment variable `HITLINE_` and its name in capitals."""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

import limits
from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from shared.settings import Port, QueueKeys, Secret, Settings, Words, split_words

#: Well within Redis' 64-bit counters.
_LARGEST_AMOUNT = 1_000_000_000
#: Longer than nginx and AWS's load balancers keep idle connections (60 s).
KEEPALIVE_SECONDS = 75.0
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_rate(text: str) -> str:
    """Return a rate such as `600/second` unchanged; raises `ValueError` when it is not a valid rate."""
    try:
        item = limits.parse(text)
    except ValueError:
        raise ValueError("must be a rate such as 600/second or 20000/minute") from None
    if ";" in text or "," in text or "|" in text:
        raise ValueError("must be a single rate")
    if not 1 <= item.amount <= _LARGEST_AMOUNT:
        raise ValueError(f"must be a rate from 1 to {_LARGEST_AMOUNT}")
    return text


def _networks(words: tuple[str, ...]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word) for word in words)
    except ValueError:
        raise ValueError("must be networks such as 10.0.0.0/8, separated by commas or spaces") from None


def _storage(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("redis", "rediss", "redis+unix") and len(text) > len(parts.scheme) + 3
        sound = sound and (parts.port is None or parts.port > 0)
    except ValueError:  # the port is not a number
        sound = False
    if text and not sound:
        raise ValueError("must look like redis://host:6379/0")
    return text


def _outlasts_confirms(drain_s: float, info: ValidationInfo) -> float:
    if drain_s <= info.data.get("confirm_seconds", 0.0):
        raise ValueError("must be more than HITLINE_CONFIRM_SECONDS, or a stop would leave requests without an answer")
    return drain_s


class GatewaySettings(Settings):
    """The settings of a gateway process."""

    queue_keys: QueueKeys
    #: Key for ids that the gateway derives; must be the same in all gateways of an instance.
    id_secret: Secret
    #: Addresses to listen on: `::` is all of IPv4 and IPv6, `unix:/path` a Unix socket.
    http_host: Words = ("127.0.0.1",)
    http_port: Port = 8080
    #: Serves `/healthz`, `/readyz` and `/metrics`; not for clients.
    admin_host: str = "127.0.0.1"
    admin_port: Port = 9080
    #: Networks of proxies whose `Forwarded` and `X-Forwarded-For` are trusted; none by default.
    trusted_proxies: Annotated[tuple[Network, ...], PlainValidator(lambda text: _networks(split_words(text)))] = ()
    #: Open connections, in all and from one address (but a trusted proxy's); 0 picks what memory bears.
    max_connections: Annotated[int, Field(ge=0)] = 0
    max_connections_per_address: Annotated[int, Field(ge=0)] = 0
    #: How long a connection without requests stays open; longer than proxies in front keep theirs.
    keepalive_seconds: Annotated[float, Field(gt=0, le=7200)] = KEEPALIVE_SECONDS
    #: The rate limit of API clients for which none is set.
    rate_limit: Annotated[str, AfterValidator(parse_rate)] = "5000/second"
    #: `redis://…` to share limits between gateways; empty: each process counts for itself.
    rate_limit_storage: Annotated[str, AfterValidator(_storage)] = ""
    #: How long a publish may stay unconfirmed before its requests are answered 503 "unknown".
    confirm_seconds: Annotated[float, Field(gt=0, le=300)] = 5.0
    #: How often refused pageviews are logged and counted in `outcomes`.
    refusals_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    #: While ClickHouse can't be reached, the copy of the registry is used until it is this old; 0: however old it is.
    registry_max_age_seconds: Annotated[float, Field(ge=0)] = 604_800.0
    #: How long a stopping gateway still accepts connections after `/readyz` has turned 503, for balancers to see it.
    stop_delay_seconds: Annotated[float, Field(ge=0, le=300)] = 0.0
    #: How long a gateway then waits for requests in flight.
    drain_seconds: Annotated[float, Field(gt=0, validate_default=True), AfterValidator(_outlasts_confirms)] = 30.0

"""The gateway's settings; each is the environment variable of its name in capitals, with `HITLINE_` before it."""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

import limits
from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from shared.settings import Port, QueueKeys, Secret, Settings, split_words

#: Redis counts in 64 bits; nobody needs more than this.
_LARGEST_AMOUNT = 1_000_000_000
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_rate(text: str) -> str:
    """Check a rate such as `600/second`; returns it unchanged, raises `ValueError` for what is none."""
    try:
        item = limits.parse(text)
    except ValueError:
        raise ValueError("is not a rate such as 600/second or 20000/minute") from None
    if ";" in text or "," in text or "|" in text:
        raise ValueError("is more than one rate")
    if not 1 <= item.amount <= _LARGEST_AMOUNT:
        raise ValueError(f"is not a rate from 1 to {_LARGEST_AMOUNT}")
    return text


def _networks(words: tuple[str, ...]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word) for word in words)
    except ValueError:
        raise ValueError("holds something that is no network such as 10.0.0.0/8") from None


def _storage(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("redis", "rediss", "redis+unix") and len(text) > len(parts.scheme) + 3
        sound = sound and (parts.port is None or parts.port > 0)
    except ValueError:  # no port number
        sound = False
    if text and not sound:
        raise ValueError("must look like redis://host:6379/0")
    return text


def _outlasts_confirms(drain_s: float, info: ValidationInfo) -> float:
    if drain_s <= info.data.get("confirm_seconds", 0.0):
        raise ValueError("must be more than HITLINE_CONFIRM_SECONDS: a stop would cut off requests without an answer")
    return drain_s


class GatewaySettings(Settings):
    """What a gateway process needs to know."""

    queue_keys: QueueKeys
    #: Ids that the gateway derives are keyed with it; the same in all gateways of an instance.
    id_secret: Secret
    http_host: str = "127.0.0.1"
    http_port: Port = 8080
    #: `/healthz`, `/readyz` and `/metrics`, not meant for clients.
    admin_host: str = "127.0.0.1"
    admin_port: Port = 9080
    #: Networks of proxies whose `X-Forwarded-For` is believed; none by default.
    trusted_proxies: Annotated[tuple[Network, ...], PlainValidator(lambda text: _networks(split_words(text)))] = ()
    #: The limit of API clients without one of their own.
    rate_limit: Annotated[str, AfterValidator(parse_rate)] = "5000/second"
    #: `redis://…` to share limits among gateways; empty: each process counts for itself.
    rate_limit_storage: Annotated[str, AfterValidator(_storage)] = ""
    #: How long a publish may stay unconfirmed before its requests are answered 503 with an unknown fate.
    confirm_seconds: Annotated[float, Field(gt=0, le=300)] = 5.0
    #: How long a stopping gateway waits for requests in flight.
    drain_seconds: Annotated[float, Field(gt=0, validate_default=True), AfterValidator(_outlasts_confirms)] = 30.0

"""What a registry file says: one entry for each site, API client and exclusion, with the fields that it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deploy.cli.hostnames import parse_hostname
from deploy.cli.support import CommandError
from deploy.erasure.retention import MAX_RETENTION_DAYS
from shared.registry.records import EVERY_SITE
from worker.lookups.exclusion_rules import KINDS, parse_rule
from worker.lookups.query_rules import parse_patterns

MAX_BURST: Final = 1_000_000


class BadValue(ValueError):
    """A field's value is wrong; the message says how, to be put behind the field's name."""


@dataclass(frozen=True)
class SiteEntry:
    """A site; `hostnames` are those that it must list, its name first, and `fields` what else is given of it."""

    line: int
    name: str
    hostnames: tuple[str, ...]
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class ClientEntry:
    """An API client; `grants` are hostnames of sites, or `*`, None: nothing is said of its grants."""

    line: int
    name: str
    grants: tuple[str, ...] | None
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class ExclusionEntry:
    """A rule for a site, given by one of its hostnames, or with None for all."""

    line: int
    kind: str
    value: str
    site: str | None


Entry = SiteEntry | ClientEntry | ExclusionEntry


def text(value: Any) -> str:
    """Return a text."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise BadValue("must be a text without control characters, and not empty")
    return value.strip()


def texts(value: Any) -> tuple[str, ...]:
    """Return a list of texts, without duplicates."""
    if not isinstance(value, list):
        raise BadValue("must be a list")
    return tuple(dict.fromkeys(map(text, value)))


def boolean(value: Any) -> bool:
    """Return true or false; in YAML that is a word."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise BadValue("must be true or false")


def number(most: int) -> Callable[[Any], int]:
    """Return what reads a number from 0 to `most`; in YAML that is a word."""

    def read(value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise BadValue(f"must be a whole number from 0 to {most}")
        return value

    return read


def hostname(value: Any) -> str:
    """Return a hostname or wildcard as sites list it."""
    try:
        return parse_hostname(text(value))
    except CommandError as error:
        raise BadValue(str(error)) from None


def hostnames(value: Any) -> tuple[str, ...]:
    """Return a list of hostnames, without duplicates."""
    return tuple(dict.fromkeys(map(hostname, texts(value))))


def granted(value: Any) -> tuple[str, ...]:
    """Return the sites that a client may post for: a list of hostnames, or `*`."""
    listed = texts([value] if value == EVERY_SITE else value)
    return tuple(dict.fromkeys(each if each == EVERY_SITE else hostname(each) for each in listed))


def patterns(value: Any) -> tuple[str, ...]:
    """Return patterns of query parameters as the registry has them."""
    try:
        return parse_patterns(texts(value))
    except BadValue:
        raise
    except ValueError as error:
        raise BadValue(str(error)) from None


def rate(value: Any) -> str:
    """Return a rate as the registry has it: empty for `default`."""
    from gateway.settings import parse_rate

    if value == "default":
        return ""
    try:
        return parse_rate(text(value))
    except BadValue:
        raise
    except ValueError as error:
        raise BadValue(f"{value!r} {error}, nor `default`") from None


#: Options of a site, named like the fields of its record.
SITE_OPTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "timezone": text,
    "retention_days": number(MAX_RETENTION_DAYS),
    "query_keep": patterns,
    "query_drop": patterns,
    "hash_paths": boolean,
    "derived_sessions": boolean,
}
CLIENT_OPTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {"rate": rate, "burst": number(MAX_BURST)}
#: What reads each field, by the kind of record.
FIELDS: Final[Mapping[str, Mapping[str, Callable[[Any], Any]]]] = {
    "site": {"name": hostname, "hostnames": hostnames, **SITE_OPTIONS},
    "client": {"name": text, "grants": granted, **CLIENT_OPTIONS},
    "exclusion": {"site": hostname, **dict.fromkeys(KINDS, text)},
}


def make_entry(kind: str, line: int, values: Mapping[str, Any]) -> Entry:
    """Make an entry of values that `FIELDS` has read; raises `BadValue` for one that lacks something."""
    rest = {name: value for name, value in values.items() if name not in ("name", "hostnames", "grants")}
    if kind == "exclusion":
        return _exclusion(line, rest)
    if "name" not in values:
        raise BadValue("name: is missing")
    name = values["name"]
    if kind == "client":
        return ClientEntry(line, name, values.get("grants"), rest)
    return SiteEntry(line, name, tuple(dict.fromkeys([name, *values.get("hostnames", ())])), rest)


def _exclusion(line: int, values: dict[str, Any]) -> ExclusionEntry:
    site = values.pop("site", None)
    if len(values) != 1:
        raise BadValue(f"must have one of {', '.join(KINDS)}")
    ((kind, value),) = values.items()
    try:
        return ExclusionEntry(line, kind, parse_rule(kind, value), site)
    except ValueError as error:
        raise BadValue(f"{kind}: {value!r} {error}") from None

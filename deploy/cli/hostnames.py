"""Hostnames as operators type them: a host, or `*.domain` for all its subdomains."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.cli.support import CommandError, warn
from shared.clickhouse import ClickHouse
from shared.hostnames import BadHostname, normalise
from shared.registry import Site, store
from worker.lookups.domains import is_public_suffix


def parse_hostname(text: str) -> str:
    """Return a hostname or wildcard in the form that sites are stored with; raises `CommandError`."""
    text = text.strip()
    try:
        if text.startswith("*."):
            # Normalised behind another label, a leading `www.` stays: `*.www.example.com` is not `*.example.com`.
            return "*." + normalise("x." + text[2:]).removeprefix("x.")
        return normalise(text)
    except BadHostname as error:
        hint = "; give only the hostname" if "/" in text or ":" in text else ""
        hint = "; a wildcard looks like *.example.com" if "*" in text else hint
        raise CommandError(f"{text!r} {error}{hint}") from None


def parse_hostnames(texts: Sequence[str]) -> tuple[str, ...]:
    """Parse several hostnames, in order and without duplicates; warns of a wildcard over other people's domains."""
    hostnames = tuple(dict.fromkeys(parse_hostname(text) for text in texts))
    for hostname in hostnames:
        if hostname.startswith("*.") and is_public_suffix(hostname.removeprefix("*.")):
            warn(f"{hostname} is every domain under a public suffix (https://publicsuffix.org), whoever owns it")
    return hostnames


async def find_site(clickhouse: ClickHouse, text: str) -> Site:
    """Return the oldest site with this name or hostname; raises `CommandError` if there is none."""
    name = parse_hostname(text)
    found = await store.sites_named(clickhouse, [name])
    if not found:
        raise CommandError(f"there is no site with the hostname {name}: see `hitline site list`")
    return found[0]

"""Hostnames as operators type them: a host, or `*.domain` for all its subdomains."""

from __future__ import annotations

from collections.abc import Sequence

from deploy import control
from deploy.cli.support import CommandError
from shared.clickhouse import ClickHouse
from shared.hostnames import BadHostname, normalise


def parse_hostname(text: str) -> str:
    """Return a hostname or a wildcard in the form under which sites are found; raises `CommandError`."""
    text = text.strip()
    try:
        if text.startswith("*."):
            # With a label for the star, a leading `www.` stays: `*.www.example.com` is not `*.example.com`.
            return "*." + normalise("x." + text[2:]).removeprefix("x.")
        return normalise(text)
    except BadHostname as error:
        hint = "; give the hostname alone" if "/" in text or ":" in text else ""
        hint = "; a wildcard looks like *.example.com" if "*" in text else hint
        raise CommandError(f"{text!r} {error}{hint}") from None


def parse_hostnames(texts: Sequence[str]) -> tuple[str, ...]:
    """Parse several, each once, in their order."""
    return tuple(dict.fromkeys(parse_hostname(text) for text in texts))


async def site_called(clickhouse: ClickHouse, text: str) -> control.Site:
    """Find the site that has this name or hostname, the older of two; raises `CommandError` for none."""
    name = parse_hostname(text)
    found = await control.sites_named(clickhouse, [name])
    if not found:
        raise CommandError(f"there is no site with the hostname {name}: see `hitline site list`")
    return found[0]

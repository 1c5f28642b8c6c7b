"""`hitline client`: API clients, their tokens, and what they may do."""

from __future__ import annotations

import dataclasses
import secrets
from collections import defaultdict
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

import click

from deploy.cli.hostnames import find_site
from deploy.cli.support import CommandError, connected, load_settings, print_json, print_table, run
from deploy.cli.update import end, update
from shared.clickhouse import ClickHouse
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Grant, store, token_hash
from shared.registry.old_grants import with_old_grants
from shared.registry.records import EVERY_SITE, EVERY_SITE_ID

#: Names of sites and permissions by client.
Granted = defaultdict[bytes, list[tuple[str, str]]]
#: Sites of a client that the list shows.
_SHOWN: Final = 10
#: Pageviews that were accepted and refused, by client.
LastHour = defaultdict[bytes, tuple[int, int]]
#: By day first, since the view `outcomes` would read all of them.
_LAST_HOUR: Final = """
SELECT client, sumIf(number, NOT startsWith(outcome, 'refused:')), sumIf(number, startsWith(outcome, 'refused:'))
FROM
(
    SELECT minutes, clients, outcomes, counts
    FROM hitline.outcomes_raw FINAL
    WHERE day >= toDate(now() - INTERVAL 1 HOUR, 'UTC')
)
ARRAY JOIN minutes AS minute, clients AS client, outcomes AS outcome, counts AS number
WHERE minute >= now() - INTERVAL 1 HOUR
GROUP BY client
"""

_grant_option = click.option(
    "--grant",
    "sites",
    multiple=True,
    metavar="HOSTNAME",
    help="A site it may post for; '*' for all sites, present and future.",
)
_permission_option = click.option(
    "--permission",
    type=click.Choice([MANAGE_DATA]),
    default=MANAGE_DATA,
    show_default=True,
    help="What it may do there.",
)
_burst_option = click.option(
    "--burst",
    type=click.IntRange(0, 1_000_000),
    help="Pageviews that it may send at once, such as its largest batch. Without, or 0: 50000 if its rate is at least "
    "500/second, else 1000.",
)


@click.group
def client() -> None:
    """Add, list, change and revoke API clients."""


@client.command
@click.argument("name")
@_grant_option
@_permission_option
@click.option("--rate", default="default", help="Its own rate limit, such as 600/second.")
@_burst_option
@click.option("--json", "as_json", is_flag=True, help="Print client and token as JSON.")
def add(name: str, sites: tuple[str, ...], permission: str, rate: str, burst: int | None, as_json: bool) -> None:
    """Add an API client called NAME and print its token, once: only a hash of it is stored."""
    if not name.strip() or not name.isprintable():
        raise CommandError(
            f"client name {name!r} is empty or has characters that can't be printed; use letters and digits"
        )
    token = f"hl_{secrets.token_urlsafe(32)}"
    new = Client(uuid4().bytes, name.strip(), _parse_rate(rate), token_hash(token), burst or 0)
    run(_add(load_settings().clickhouse_url, new, sites, permission))
    if as_json:
        print_json({"client_id": UUID(bytes=new.client_id), "name": new.name, "token": token})
        return
    click.echo(token)
    note = (
        "it can post nothing yet: see `hitline client grant`"
        if not sites
        else "send it as `Authorization: Bearer TOKEN`"
    )
    click.echo(f"client {new.name} added. This is its token, which is not shown again; {note}", err=True)


async def _add(url: str, new: Client, sites: Sequence[str], permission: str) -> None:
    async with connected(url) as clickhouse:
        if await store.clients(clickhouse, new.name):
            raise CommandError(f"client {new.name} exists already: revoke it first, or choose another name")
        grants = await _grants(clickhouse, new, sites, permission)
        await store.put(clickhouse, with_old_grants(new, grants), *grants)
        # Another `client add` may have run at the same time: the older one keeps the name.
        oldest = (await store.clients(clickhouse, new.name))[0]
        if oldest.client_id != new.client_id:
            await store.remove(clickhouse, new)
            raise CommandError(f"client {new.name} has just been added by another command: choose another name")


async def _grants(clickhouse: ClickHouse, client: Client, sites: Sequence[str], permission: str) -> list[Grant]:
    """Turn hostnames into grants; raises `CommandError` for one that belongs to no site."""
    ids = [
        EVERY_SITE_ID if text == EVERY_SITE else (await find_site(clickhouse, text)).site_id
        for text in dict.fromkeys(sites)
    ]
    return [Grant(client.client_id, permission, site_id) for site_id in dict.fromkeys(ids)]


def _parse_rate(rate: str) -> str:
    from gateway.settings import parse_rate

    if rate == "default":
        return ""
    try:
        return parse_rate(rate)
    except ValueError as error:
        raise CommandError(f"--rate: {rate!r} {error}, nor `default`") from None


@client.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the clients as JSON.")
def list_(as_json: bool) -> None:
    """List all API clients, and how many pageviews of each were accepted and refused in the last hour.

    Refused ones are counted once a minute. Tokens can't be shown again.
    """
    found, granted, last_hour = run(_list(load_settings().clickhouse_url))
    if as_json:
        print_json([_as_dict(each, granted, last_hour) for each in found])
    elif found:
        rows = [
            [each.name, _site_list(each, granted), each.rate or "-", *map(str, last_hour[each.client_id]),
             str(UUID(bytes=each.client_id))]
            for each in found
        ]  # fmt: skip
        print_table(["CLIENT", "SITES", "RATE", "ACCEPTED/H", "REFUSED/H", "ID"], rows)
    else:
        click.echo("no API clients yet: add one with `hitline client add NAME --grant HOSTNAME`", err=True)


async def _list(url: str) -> tuple[list[Client], Granted, LastHour]:
    async with connected(url) as clickhouse:
        names: dict[bytes, str] = {EVERY_SITE_ID: EVERY_SITE}
        names |= {site.site_id: site.name for site in await store.sites(clickhouse)}
        result = await clickhouse.query(_LAST_HOUR)
        last_hour: LastHour = defaultdict(lambda: (0, 0))
        last_hour |= {client_id.bytes: (accepted, refused) for client_id, accepted, refused in result.result_rows}
        granted: Granted = defaultdict(list)
        for grant in await store.grants(clickhouse):
            if grant.site_id in names:  # a removed site's grants ended with it
                granted[grant.client_id].append((names[grant.site_id], grant.permission))
        return await store.clients(clickhouse), granted, last_hour


def _site_list(client: Client, granted: Granted) -> str:
    names = sorted({site for site, _ in granted[client.client_id]})
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return " ".join([*names[:_SHOWN], *more])


def _as_dict(client: Client, all_granted: Granted, last_hour: LastHour) -> dict[str, object]:
    granted = [{"site": site, "permission": permission} for site, permission in sorted(all_granted[client.client_id])]
    accepted, refused = last_hour[client.client_id]
    return {
        "client_id": UUID(bytes=client.client_id),
        "name": client.name,
        "grants": granted,
        "rate": client.rate,
        "burst": client.burst,
        "accepted_last_hour": accepted,
        "refused_last_hour": refused,
    }


@client.command
@click.argument("name")
@_grant_option
@_permission_option
def grant(name: str, sites: tuple[str, ...], permission: str) -> None:
    """Let a client post for more sites."""
    if not sites:
        raise CommandError("nothing to grant: use --grant HOSTNAME, or --grant '*' for all sites")
    run(_grant(load_settings().clickhouse_url, name, sites, permission))
    click.echo(f"client {name} may now post for {', '.join(sites)}")


async def _grant(url: str, name: str, sites: Sequence[str], permission: str) -> None:
    async with connected(url) as clickhouse:
        client = (await _named(clickhouse, name))[0]
        new = await _grants(clickhouse, client, sites, permission)
        await store.put(clickhouse, *new)
        if with_old_grants(client, new) != client:
            await update(clickhouse, client, lambda old: with_old_grants(old, new))


@client.command
@click.argument("name")
@click.option("--rate", help="Such as 600/second; `default`: the gateway's own.")
@_burst_option
def limit(name: str, rate: str | None, burst: int | None) -> None:
    """Change a client's rate limit, or how much it may send at once."""
    changes: dict[str, str | int] = {}
    if rate is not None:
        changes["rate"] = _parse_rate(rate)
    if burst is not None:
        changes["burst"] = burst
    if not changes:
        raise CommandError("nothing to change: use --rate, --burst or both")
    run(_limit(load_settings().clickhouse_url, name, changes))
    for what, value in changes.items():
        click.echo(f"client {name}: {what} {value or 'is the default'}")


async def _limit(url: str, name: str, changes: dict[str, str | int]) -> None:
    async with connected(url) as clickhouse:
        client = (await _named(clickhouse, name))[0]
        await update(clickhouse, client, lambda old: dataclasses.replace(old, **changes))  # type: ignore[arg-type]


async def _named(clickhouse: ClickHouse, name: str) -> list[Client]:
    found = await store.clients(clickhouse, name)
    if not found:
        raise CommandError(f"there is no client {name}: see `hitline client list`")
    return found


@client.command
@click.argument("name")
def revoke(name: str) -> None:
    """Make a client's token invalid; pageviews accepted from it are still stored."""
    run(_revoke(load_settings().clickhouse_url, name))
    click.echo(f"client {name} revoked: gateways refuse its token within 5 s")


async def _revoke(url: str, name: str) -> None:
    async with connected(url) as clickhouse:
        for each in await _named(clickhouse, name):
            await end(clickhouse, each)


client.add_command(revoke, "remove")

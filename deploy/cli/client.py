"""`hitline client`: API clients, their tokens, and what they may do."""

from __future__ import annotations

import dataclasses
import secrets
import uuid
from collections.abc import Callable, Sequence

import click

from deploy import control
from deploy.cli.hostnames import site_called
from deploy.cli.support import CommandError, connected, load_settings, print_json, print_table, run
from shared.clickhouse import ClickHouse
from shared.pageview import MANAGE_DATA
from shared.registry.model import ALL_SITES, token_hash

_grant_option = click.option(
    "--grant", "sites", multiple=True, metavar="HOSTNAME", help="A site it may post for; '*' for all, future ones too."
)
_permission_option = click.option(
    "--permission",
    type=click.Choice([MANAGE_DATA]),
    default=MANAGE_DATA,
    show_default=True,
    help="What it may do there.",
)


@click.group
def client() -> None:
    """Add, list, change and revoke API clients."""


@client.command
@click.argument("name")
@_grant_option
@_permission_option
@click.option("--rate", default="default", help="Its own rate limit, such as 600/second.")
@click.option("--json", "as_json", is_flag=True, help="Print client and token as JSON.")
def add(name: str, sites: tuple[str, ...], permission: str, rate: str, as_json: bool) -> None:
    """Add an API client called NAME and print its token, once: only a hash of it is stored."""
    if not name.strip() or not name.isprintable():
        raise CommandError("a client's name must have something printable in it")
    token = f"hl_{secrets.token_urlsafe(32)}"
    new = control.Client(uuid.uuid4(), name.strip(), token_hash(token), (), _parse_rate(rate))
    run(_add(load_settings().clickhouse_url, new, sites, permission))
    if as_json:
        print_json({"client_id": new.client_id, "name": new.name, "token": token})
        return
    click.echo(token)
    note = (
        "it can post nothing yet: see `hitline client grant`"
        if not sites
        else "send it as `Authorization: Bearer TOKEN`"
    )
    click.echo(f"client {new.name} added. This is its token, which is not shown again; {note}", err=True)


async def _add(url: str, new: control.Client, sites: Sequence[str], permission: str) -> None:
    async with connected(url) as clickhouse:
        if await control.clients(clickhouse, new.name):
            raise CommandError(f"client {new.name} exists already: revoke it first, or choose another name")
        grants = await _grants(clickhouse, sites, permission)
        await control.put(clickhouse, dataclasses.replace(new, grants=grants))
        # Another `client add` may have run at the same time: the older one keeps the name.
        oldest = (await control.clients(clickhouse, new.name))[0]
        if oldest.client_id != new.client_id:
            await control.remove(clickhouse, new)
            raise CommandError(f"client {new.name} was added by somebody else just now")


async def _grants(clickhouse: ClickHouse, sites: Sequence[str], permission: str) -> tuple[tuple[str, str], ...]:
    """Turn hostnames into grants; raises `CommandError` for one that belongs to no site."""
    names = [text if text == ALL_SITES else str((await site_called(clickhouse, text)).site_id) for text in sites]
    return tuple((name, permission) for name in dict.fromkeys(names))


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
    """List all API clients; tokens can't be shown again."""
    found, sites = run(_list(load_settings().clickhouse_url))
    if as_json:
        print_json([_as_dict(each, sites) for each in found])
    elif found:
        rows = [[each.name, " ".join(_sites_of(each, sites)), each.rate or "-", str(each.client_id)] for each in found]
        print_table(["CLIENT", "SITES", "RATE", "ID"], rows)
    else:
        click.echo("no API clients yet: add one with `hitline client add NAME --grant HOSTNAME`", err=True)


async def _list(url: str) -> tuple[list[control.Client], dict[str, str]]:
    async with connected(url) as clickhouse:
        names = {str(site.site_id): site.name for site in await control.sites(clickhouse)}
        return await control.clients(clickhouse), {ALL_SITES: ALL_SITES, **names}


def _sites_of(client: control.Client, sites: dict[str, str]) -> list[str]:
    """Return the names of the sites it is granted; a removed site's grants ended with it."""
    return sorted({sites[site] for site, _ in client.grants if site in sites})


def _as_dict(client: control.Client, sites: dict[str, str]) -> dict[str, object]:
    granted = [{"site": sites[site], "permission": what} for site, what in client.grants if site in sites]
    return {"client_id": client.client_id, "name": client.name, "grants": granted, "rate": client.rate}


@client.command
@click.argument("name")
@_grant_option
@_permission_option
def grant(name: str, sites: tuple[str, ...], permission: str) -> None:
    """Let a client post for further sites."""
    if not sites:
        raise CommandError("say for which site: --grant HOSTNAME, or --grant '*' for all")
    run(_grant(load_settings().clickhouse_url, name, sites, permission))
    click.echo(f"client {name} may now post for {', '.join(sites)}")


async def _grant(url: str, name: str, sites: Sequence[str], permission: str) -> None:
    async with connected(url) as clickhouse:
        new = await _grants(clickhouse, sites, permission)
        await _change(clickhouse, name, lambda old: dataclasses.replace(old, grants=_union(old.grants, new)))


def _union(old: tuple[tuple[str, str], ...], new: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(old + new))


@client.command
@click.argument("name")
@click.option("--rate", required=True, help="Such as 600/second; `default`: the gateway's own.")
def limit(name: str, rate: str) -> None:
    """Change a client's rate limit."""
    new = _parse_rate(rate)
    run(_limit(load_settings().clickhouse_url, name, new))
    click.echo(f"client {name} is limited to {new}" if new else f"client {name} has the gateway's limit")


async def _limit(url: str, name: str, rate: str) -> None:
    async with connected(url) as clickhouse:
        await _change(clickhouse, name, lambda old: dataclasses.replace(old, rate=rate))


async def _change(clickhouse: ClickHouse, name: str, change: Callable[[control.Client], control.Client]) -> None:
    await control.put(clickhouse, change((await _called(clickhouse, name))[0]))


async def _called(clickhouse: ClickHouse, name: str) -> list[control.Client]:
    found = await control.clients(clickhouse, name)
    if not found:
        raise CommandError(f"there is no client {name}: see `hitline client list`")
    return found


@client.command
@click.argument("name")
def revoke(name: str) -> None:
    """Take a client's token out of force; what was accepted from it is still stored."""
    run(_revoke(load_settings().clickhouse_url, name))
    click.echo(f"client {name} revoked: gateways refuse its token within 5 s")


async def _revoke(url: str, name: str) -> None:
    async with connected(url) as clickhouse:
        for each in await _called(clickhouse, name):
            await control.remove(clickhouse, each)


client.add_command(revoke, "remove")

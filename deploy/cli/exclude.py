"""`hitline exclude`: pageviews that are not to be stored, for one site or for all."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from deploy import control
from deploy.cli.hostnames import site_called
from deploy.cli.support import CommandError, connected, load_settings, print_json, print_table, run
from shared.clickhouse import ClickHouse

Command = TypeVar("Command", bound=Callable[..., Any])
#: Kind and value of a rule.
Rule = tuple[str, str]


@click.group
def exclude() -> None:
    """Keep pageviews out, for one site or for all."""


def _rule_options(command: Command) -> Command:
    """Add the options that say which rules are meant."""
    for option in (
        click.option("--path", "paths", multiple=True, help="A path and all below it: /admin, not /administrator."),
        click.option("--user-agent", "user_agents", multiple=True, help="Part of the user agent, in any case."),
        click.option("--country", "countries", multiple=True, help="A country by its two letters, such as DE."),
        click.option("--cidr", "cidrs", multiple=True, help="Addresses, such as 192.0.2.0/24 or 2001:db8::/32."),
        click.option("--site", "host", metavar="HOST", help="For this site only; without it, for all sites."),
    ):
        command = option(command)
    return command


def _rules(
    cidrs: Sequence[str], countries: Sequence[str], user_agents: Sequence[str], paths: Sequence[str]
) -> list[Rule]:
    """Check what was given, each rule once; raises `CommandError` for none, or for one that can't be."""
    from worker.lookups.exclusion_rules import parse_rule

    given = [("cidr", cidrs), ("country", countries), ("user_agent", user_agents), ("path", paths)]
    rules = []
    for kind, values in given:
        for value in values:
            try:
                rules.append((kind, str(parse_rule(kind, value))))
            except ValueError as error:
                raise CommandError(f"--{kind.replace('_', '-')} {value!r} {error}") from None
    if not rules:
        raise CommandError("say what: --cidr, --country, --user-agent or --path")
    return list(dict.fromkeys(rules))


@exclude.command
@_rule_options
def add(
    host: str | None,
    cidrs: tuple[str, ...],
    countries: tuple[str, ...],
    user_agents: tuple[str, ...],
    paths: tuple[str, ...],
) -> None:
    """Keep out what matches any of the rules given; it takes effect within 5 s."""
    rules = _rules(cidrs, countries, user_agents, paths)
    where = run(_add(load_settings().clickhouse_url, host, rules))
    for kind, value in rules:
        click.echo(f"excluded for {where}: {kind} {value}")


async def _add(url: str, host: str | None, rules: Sequence[Rule]) -> str:
    async with connected(url) as clickhouse:
        site_id, where = await _scope(clickhouse, host)
        known = {(rule.kind, rule.value) for rule in await control.exclusions(clickhouse) if rule.site_id == site_id}
        for kind, value in rules:
            if (kind, value) in known:
                raise CommandError(f"{kind} {value} is excluded for {where} already")
        for kind, value in rules:
            await control.put(clickhouse, control.Exclusion(uuid.uuid4(), site_id, kind, value))
    return where


async def _scope(clickhouse: ClickHouse, host: str | None) -> tuple[uuid.UUID | None, str]:
    """Return the site's id, or None for all sites, and how to call it."""
    if host is None:
        return None, "all sites"
    site = await site_called(clickhouse, host)
    return site.site_id, site.name


@exclude.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the rules as JSON.")
def list_(as_json: bool) -> None:
    """List all rules in force."""
    found, sites = run(_list(load_settings().clickhouse_url))
    # A removed site's rules ended with it.
    named = [(sites[rule.site_id], rule) for rule in found if rule.site_id in sites]
    if as_json:
        print_json([{"site": name, "kind": rule.kind, "value": rule.value} for name, rule in named])
    elif named:
        print_table(["SITE", "KIND", "VALUE"], [[name or "*", rule.kind, rule.value] for name, rule in named])
    else:
        click.echo("nothing is excluded", err=True)


async def _list(url: str) -> tuple[list[control.Exclusion], dict[uuid.UUID | None, str | None]]:
    async with connected(url) as clickhouse:
        names: dict[uuid.UUID | None, str | None] = {None: None}
        names |= {site.site_id: site.name for site in await control.sites(clickhouse)}
        return await control.exclusions(clickhouse), names


@exclude.command
@_rule_options
def remove(
    host: str | None,
    cidrs: tuple[str, ...],
    countries: tuple[str, ...],
    user_agents: tuple[str, ...],
    paths: tuple[str, ...],
) -> None:
    """Take rules out of force: the same options with which they were added."""
    rules = _rules(cidrs, countries, user_agents, paths)
    where = run(_remove(load_settings().clickhouse_url, host, rules))
    for kind, value in rules:
        click.echo(f"no longer excluded for {where}: {kind} {value}")


async def _remove(url: str, host: str | None, rules: Sequence[Rule]) -> str:
    async with connected(url) as clickhouse:
        site_id, where = await _scope(clickhouse, host)
        known = [rule for rule in await control.exclusions(clickhouse) if rule.site_id == site_id]
        for kind, value in rules:
            if not any((rule.kind, rule.value) == (kind, value) for rule in known):
                raise CommandError(f"{kind} {value} is not excluded for {where}: see `hitline exclude list`")
        for rule in known:
            if (rule.kind, rule.value) in rules:
                await control.remove(clickhouse, rule)
    return where

"""`hitline exclude`: rules for pageviews that are not stored, for one site or for all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from uuid import uuid4

import click

from deploy.cli.hostnames import find_site
from deploy.cli.support import CommandError, connected, load_settings, print_json, print_table, run
from shared.clickhouse import ClickHouse
from shared.registry import Exclusion, store

#: Kind and value of a rule.
Rule = tuple[str, str]


@click.group
def exclude() -> None:
    """Exclude pageviews, for one site or for all."""


def _rule_options(command: Callable[[str | None, list[Rule]], None]) -> Callable[..., None]:
    """Add the options that name rules, and hand them over as such."""

    @functools.wraps(command)
    def with_rules(host: str | None, **given: Sequence[str]) -> None:
        command(host, _rules(**given))

    decorated: Callable[..., None] = with_rules
    for option in (
        click.option("--path", "paths", multiple=True, help="A path and all below it: /admin, not /administrator."),
        click.option("--user-agent", "user_agents", multiple=True, help="A part of the user agent, case-insensitive."),
        click.option("--country", "countries", multiple=True, help="A country by its two letters, such as DE."),
        click.option("--cidr", "cidrs", multiple=True, help="Addresses, such as 192.0.2.0/24 or 2001:db8::/32."),
        click.option("--site", "host", metavar="HOST", help="For this site only; without it, for all sites."),
    ):
        decorated = option(decorated)
    return decorated


def _rules(
    cidrs: Sequence[str], countries: Sequence[str], user_agents: Sequence[str], paths: Sequence[str]
) -> list[Rule]:
    """Return the given rules, without duplicates; raises `CommandError` for a malformed one, or if there is none."""
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
        raise CommandError("no rule given: use --cidr, --country, --user-agent or --path")
    return list(dict.fromkeys(rules))


@exclude.command
@_rule_options
def add(host: str | None, rules: list[Rule]) -> None:
    """Exclude pageviews that match any of the rules given; takes effect within 5 s."""
    where = run(_add(load_settings().clickhouse_url, host, rules))
    for kind, value in rules:
        click.echo(f"excluded for {where}: {kind} {value}")


async def _add(url: str, host: str | None, rules: Sequence[Rule]) -> str:
    async with connected(url) as clickhouse:
        site_id, where = await _scope(clickhouse, host)
        known = {(rule.kind, rule.value) for rule in await store.exclusions(clickhouse) if rule.site_id == site_id}
        for kind, value in rules:
            if (kind, value) in known:
                raise CommandError(f"{kind} {value} is already excluded for {where}")
        for kind, value in rules:
            await store.put(clickhouse, Exclusion(uuid4().bytes, kind, value, site_id))
    return where


async def _scope(clickhouse: ClickHouse, host: str | None) -> tuple[bytes | None, str]:
    """Return the site's id, or None for all sites, and its name."""
    if host is None:
        return None, "all sites"
    site = await find_site(clickhouse, host)
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
        click.echo("no exclusions yet: add one with `hitline exclude add`", err=True)


async def _list(url: str) -> tuple[list[Exclusion], dict[bytes | None, str | None]]:
    async with connected(url) as clickhouse:
        names: dict[bytes | None, str | None] = {None: None}
        names |= {site.site_id: site.name for site in await store.sites(clickhouse)}
        return await store.exclusions(clickhouse), names


@exclude.command
@_rule_options
def remove(host: str | None, rules: list[Rule]) -> None:
    """Remove rules, given with the same options that added them."""
    where = run(_remove(load_settings().clickhouse_url, host, rules))
    for kind, value in rules:
        click.echo(f"no longer excluded for {where}: {kind} {value}")


async def _remove(url: str, host: str | None, rules: Sequence[Rule]) -> str:
    async with connected(url) as clickhouse:
        site_id, where = await _scope(clickhouse, host)
        known = [rule for rule in await store.exclusions(clickhouse) if rule.site_id == site_id]
        for kind, value in rules:
            if not any((rule.kind, rule.value) == (kind, value) for rule in known):
                raise CommandError(f"{kind} {value} is not excluded for {where}: see `hitline exclude list`")
        for rule in known:
            if (rule.kind, rule.value) in rules:
                await store.remove(clickhouse, rule)
    return where

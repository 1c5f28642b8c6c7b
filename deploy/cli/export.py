"""`hitline export`: the registry as a file."""

from __future__ import annotations

import click

from deploy.cli.support import connected, load_settings, never_collect, run, warn
from deploy.registry_file.state import State, read_state
from deploy.registry_file.write import as_ndjson, as_yaml, records

_READ_SECONDS = 300.0


@click.command
@click.option("--format", "form", type=click.Choice(["yaml", "ndjson"]), default="yaml", show_default=True)
def export(form: str) -> None:
    """Print all sites, API clients (without tokens), grants and exclusions as a file for `hitline apply`."""
    never_collect()
    state = run(_read(load_settings().clickhouse_url))
    for double in state.doubles:
        warn(f"{type(double).__name__.lower()} {double.name} is there twice; the oldest one is written")
    lines = as_yaml(records(state)) if form == "yaml" else as_ndjson(records(state))
    for line in lines:
        click.echo(line)


async def _read(url: str) -> State:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        return await read_state(clickhouse)

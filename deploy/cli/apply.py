"""`hitline apply`: the registry as a file says."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final

import click

from deploy.cli.support import CommandError, connected, echo_foreign, load_settings, never_collect, run, warn
from deploy.registry_file.execute import Unsettled, apply
from deploy.registry_file.parse import BadFile, Document, parse
from deploy.registry_file.plan import Plan, Planner
from deploy.registry_file.state import read_state
from deploy.registry_file.tokens import Tokens
from shared.clickhouse import ClickHouse
from shared.registry import Client

#: What `--dry-run` exits with when there is something to change; 1 is an error, and 2 a wrong option.
DIFFERS: Final = 3
#: Lines of a plan that are shown.
_SHOWN: Final = 200
_READ_SECONDS: Final = 300.0


@click.command(name="apply")
@click.argument("file")
@click.option("--dry-run", is_flag=True, help=f"Show what would change, and exit {DIFFERS} if anything would.")
@click.option("--prune", is_flag=True, help="Remove what the file lacks, of the kinds that are in it.")
@click.option(
    "--tokens-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write new clients' tokens there, a file each with mode 0600, instead of printing them.",
)
def apply_command(file: str, dry_run: bool, prune: bool, tokens_dir: Path | None) -> None:
    """Make sites, API clients, grants and exclusions as FILE says (YAML or NDJSON; - for standard input).

    It shows what it changes, and leaves alone what the file does not speak of. Applied twice, the second time changes
    nothing. `hitline export` writes such a file.
    """
    never_collect()
    document = _read(file)
    url = load_settings().clickhouse_url
    if dry_run:
        plan = run(_plan(url, document, prune, file))
        _show(plan)
        raise click.exceptions.Exit(0 if plan.empty else DIFFERS)
    tokens = Tokens(tokens_dir)
    for name, token in tokens.settle(run(_apply(url, document, prune, file, tokens))):
        echo_foreign(f"token of {name}: {token}")


def _read(file: str) -> Document:
    try:
        with click.open_file(file, "rb") as stream:
            return parse(stream.read(), file)
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}") from None
    except BadFile as error:
        raise CommandError(str(error)) from None


async def _plan(url: str, document: Document, prune: bool, name: str) -> Plan:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        await _check_timezones(clickhouse, document, name)
        try:
            state = await read_state(clickhouse, grants="client" in document.kinds)
            return Planner(document, state, prune=prune, name=name).make()
        except BadFile as error:
            raise CommandError(str(error)) from None


async def _apply(url: str, document: Document, prune: bool, name: str, tokens: Tokens) -> list[Client]:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        await _check_timezones(clickhouse, document, name)
        try:
            return await apply(clickhouse, document, prune=prune, name=name, announce=_show, issue=tokens.issue)
        except BadFile as error:
            raise CommandError(str(error)) from None
        except Unsettled:
            raise CommandError("others keep changing the same: run it again once they are done") from None


async def _check_timezones(clickhouse: ClickHouse, document: Document, name: str) -> None:
    known = {row[0] for row in (await clickhouse.query("SELECT time_zone FROM system.time_zones")).result_rows}
    for site in document.sites:
        if (zone := site.fields.get("timezone", "UTC")) not in known:
            raise CommandError(
                f"{name}:{site.line}: timezone: unknown time zone {zone!r}; use a name like Europe/Berlin"
            )


def _show(plan: Plan) -> None:
    """Print what is to be done and what is left alone."""
    for line in islice(plan.lines, _SHOWN):
        echo_foreign(line)
    if len(plan.lines) > _SHOWN:
        click.echo(f"… and {len(plan.lines) - _SHOWN} more")
    for text in plan.warnings[:_SHOWN]:
        warn(text)
    marks = [line[0] for line in plan.lines]
    added, changed, removed = (marks.count(mark) for mark in "+~-")
    click.echo(f"{added} to add, {changed} to change, {removed} to remove")
    if plan.left_alone:
        kinds = ", ".join(f"{number} {kind}{'s' if number > 1 else ''}" for kind, number in plan.left_alone.items())
        click.echo(f"left alone, since the file does not have them: {kinds} (--prune removes them)")

"""The `hitline` command.  Each group has a file here and is imported only when it is called: help must be quick."""

from __future__ import annotations

import importlib
from typing import Any, Final

import click

#: Command, the module and the name in it, and what `hitline --help` says of it.
COMMANDS: Final = {
    "gateway": ("deploy.cli.process", "gateway", "Run one gateway process."),
    "worker": ("deploy.cli.process", "worker", "Run one worker process."),
    "probe": ("deploy.cli.process", "probe", "Ask the gateway or worker on this host for its health."),
    "migrate": ("deploy.cli.migrate", "migrate", "Bring ClickHouse's schema and the broker's queues up to date."),
    "site": ("deploy.cli.site", "site", "Add, list and remove sites."),
    "client": ("deploy.cli.client", "client", "Add, list, change and revoke API clients."),
    "apply": ("deploy.cli.apply", "apply_command", "Make sites, clients, grants and exclusions as a file says."),
    "export": ("deploy.cli.export", "export", "Print sites, clients, grants and exclusions as such a file."),
    "replay": ("deploy.cli.replay", "replay", "Send access logs, past and present, as pageviews."),
    "exclude": ("deploy.cli.exclude", "exclude", "Exclude pageviews, for one site or for all."),
    "explain": ("deploy.cli.explain", "explain", "Show how one pageview is processed, step by step."),
    "dead": ("deploy.cli.dead", "dead", "List, show, replay and purge dead letters."),
    "reconcile": ("deploy.cli.reconcile", "reconcile", "Check that every accepted pageview has exactly one outcome."),
    "report": ("deploy.cli.report", "report", "Show a site's traffic in a period."),
    "rollup": ("deploy.cli.rollup", "rollup", "Keep the hourly and daily rollups up to date."),
    "retain": ("deploy.cli.retain", "retain", "Erase pageviews older than their site's retention."),
    "erase": ("deploy.cli.erase", "erase", "Erase pageviews of a site, a session, a path or a time for good."),
    "backup": ("deploy.cli.backup", "backup", "Write registry and a ledger of the pageviews to a directory."),
    "restore": ("deploy.cli.backup", "restore", "Bring the registry back from a backup, and compare the pageviews."),
    "top": ("deploy.cli.top", "top", "Show live what is accepted, waiting and stored, and by which processes."),
    "doctor": ("deploy.cli.doctor", "doctor", "Say what is wrong with this setup, and how to mend it."),
    "geo": ("deploy.cli.geo", "geo", "Fetch geo databases."),
    "feeds": ("deploy.cli.feeds", "feeds", "Fetch spam lists."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise click.ClickException(f"`hitline {cmd_name}` is not part of this installation") from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error is one line on standard error, and exit code 1."""
        from deploy.cli.support import as_click_error

        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click exits quietly on a broken pipe, as in `hitline … | head`
        except Exception as error:
            raise as_click_error(error) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hitline")
def main() -> None:
    """Hitline takes pageviews over HTTP and lands each of them in ClickHouse exactly once.

    Settings are environment variables named HITLINE_…, such as HITLINE_CLICKHOUSE_URL and HITLINE_AMQP_URL.
    """

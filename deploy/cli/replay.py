"""`hitline replay`: access logs, past and present, as pageviews."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import orjson

from deploy.cli.replay_options import replay_options
from deploy.cli.support import CommandError, print_json, run, warn
from deploy.replay import filters, state, summary
from deploy.replay.execute import Interrupted, Logs, Target, execute
from deploy.replay.filters import BadRule, Filter
from deploy.replay.formats import BadTemplate, make
from deploy.replay.inputs import STDIN
from deploy.replay.pageview import Site
from deploy.replay.run import Job, Outcome
from deploy.replay.survey import Log, Reading, UnknownFormatError
from deploy.replay.text import masked
from shared.secret_files import UnreadableSecretError, resolve
from shared.settings import PREFIX
from shared.terminal import visible

_SAMPLES: Final = 3
_LISTED_LOGS: Final = 20


@click.command
@replay_options
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
def replay(logs: tuple[str, ...], **options: Any) -> None:
    """Send access logs to a gateway's batch endpoint; - is standard input.

    Plain or compressed (gzip, zstd, xz, bzip2).  A run that was interrupted goes on where it was when the same command
    is run again; every pageview has ids made of its line, so that no repetition stores one twice.
    """
    _check_logs(logs, options["follow"])
    job, target = _job(options), _target(options)
    directory = options["state_dir"] or _state_dir()
    try:
        key = state.load_key(directory, _secret("REPLAY_SECRET"))
        locked = nullcontext(None) if logs == (STDIN,) else state.opened(directory, state.job_id(_identity(options)))
        with locked as file:
            wanted = Logs(logs, options["follow"], options["from_start"])
            samples: list[bytes] = []
            outcome, ended_by = run(
                execute(job, wanted, target, file, key, _show_logs, lambda items: _keep(samples, items))
            )
    except (state.StateError, UnknownFormatError) as error:
        raise CommandError(visible(str(error), 1000)) from None
    _show(outcome, samples, options["dry_run"], options["as_json"])
    _end(outcome, ended_by)


def _check_logs(logs: tuple[str, ...], follow: bool) -> None:
    if STDIN in logs and (len(logs) > 1 or follow):
        raise click.UsageError("standard input (-) goes by itself, and ends by itself: no other logs, no --follow")
    if follow and len(logs) > 1:
        raise click.UsageError("--follow takes one log: run one command for each")
    for log in logs:
        if log != STDIN and not follow and not Path(log).is_file():
            raise CommandError(f"{visible(log, 100)}: no such file")


def _job(options: dict[str, Any]) -> Job:
    try:
        zone = ZoneInfo(options["time_zone"])
    except (ZoneInfoNotFoundError, ValueError):
        raise click.BadParameter("unknown; write it like Europe/Vienna", param_hint="--time-zone") from None
    static = options["static"]
    extensions = filters.STATIC if static is None else frozenset(static.lower().replace(",", " ").split())
    try:
        keep = Filter(options["methods"], options["statuses"], extensions, options["only"], options["leave_out"])
    except BadRule as error:
        raise click.UsageError(str(error)) from None
    try:
        site = Site.of(options["site_url"])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--site-url") from None
    reading = Reading(zone, options["forwarded_for"], options["format_"])
    if reading.format is not None:
        try:
            make(reading.format, reading.zone, reading.forwarded)
        except BadTemplate as error:
            raise click.BadParameter(str(error), param_hint="--format") from None
    by_clock = options["sessions"] == "clock"
    return Job(reading, keep, site, options["max_items"], options["in_flight"], options["source"], by_clock)


def _target(options: dict[str, Any]) -> Target:
    if options["dry_run"]:
        return Target(options["url"], None)
    token = _secret("TOKEN")
    if options["token_file"]:
        token = Path(options["token_file"]).read_text()
    if not token.strip():
        raise click.UsageError("no API token: set HITLINE_TOKEN or give --token-file (`hitline client add` makes one)")
    return Target(options["url"], token.strip(), options["compress"], options["give_up_after"])


def _secret(name: str) -> str:
    """Return a secret from the environment, or from the file that `HITLINE_…_FILE` names; empty without either."""
    try:
        return resolve(os.environ, PREFIX).get(PREFIX + name, "")
    except UnreadableSecretError as error:
        raise CommandError(str(error)) from None


def _identity(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that decide which pageviews are sent where: another choice has a progress of its own."""
    names = ("url", "site_url", "format_", "time_zone", "forwarded_for", "methods", "statuses", "static", "only",
             "leave_out", "source", "sessions")  # fmt: skip
    return {name: options[name] for name in names}


def _state_dir() -> Path:
    if given := os.environ.get("HITLINE_STATE_DIR"):
        return Path(given) / "replay"
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "hitline" / "replay"


def _show_logs(logs: Sequence[Log]) -> None:
    for log in logs[:_LISTED_LOGS]:
        taken = f", goes on after line {log.lines:,}" if log.position else ""
        click.echo(f"{visible(log.name, 100)}: {log.title or 'no lines yet'}{taken}", err=True)
        if log.doubt:
            warn(f"{visible(log.doubt, 300)}; is another --format right?")
    if len(logs) > _LISTED_LOGS:
        click.echo(f"and {len(logs) - _LISTED_LOGS:,} more logs", err=True)


def _keep(samples: list[bytes], items: Sequence[bytes]) -> None:
    samples.extend(items[: _SAMPLES - len(samples)])


def _show(outcome: Outcome, samples: list[bytes], dry_run: bool, as_json: bool) -> None:
    for problem in outcome.problems:
        warn(visible(problem, 300))
    for item in samples:
        shown = orjson.loads(item) | {"visitor_ip": "(address)"}
        click.echo(f"would send {visible(masked(orjson.dumps(shown).decode()), 600)}", err=True)
    if as_json:
        print_json(summary.as_json(outcome.tally, outcome.problems, dry_run=dry_run))
    else:
        click.echo(summary.table(outcome.tally, dry_run=dry_run))


def _end(outcome: Outcome, ended_by: Exception | None) -> None:
    if isinstance(ended_by, Interrupted):
        raise CommandError("interrupted; the same command goes on from here")
    if ended_by is not None:
        raise CommandError(visible(str(ended_by), 1000))
    if outcome.problems:
        raise CommandError(f"{len(outcome.problems)} of the logs could not be read to their end")

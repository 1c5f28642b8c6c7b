"""`hitline doctor`: what is wrong with this setup, and what to do about it."""

from __future__ import annotations

import logging
import os
import sys

import click

from deploy.cli.support import print_json, run
from deploy.observe.context import read
from deploy.observe.doctor import examine
from deploy.observe.finding import Finding, Level
from shared import logs
from shared.terminal import visible

_COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.UNKNOWN: "cyan"}


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--strict", is_flag=True, help="Exit 1 for warnings too.")
def doctor(as_json: bool, strict: bool) -> None:
    """Look at settings, broker, ClickHouse, clocks, files and processes, and say what is wrong and how to mend it.

    Changes nothing. Run it with the settings of a gateway or worker, as its user. Exits 1 if there is an error (with
    --strict a warning is enough), 0 otherwise.
    """
    logs.set_up(level=logging.CRITICAL)  # the findings say it
    found = run(examine(read(os.environ)))
    findings = [finding for part in found.values() for finding in part]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        _print(found)
    bad = {Level.ERROR, Level.WARNING} if strict else {Level.ERROR}
    sys.exit(1 if any(finding.level in bad for finding in findings) else 0)


def _print(found: dict[str, list[Finding]]) -> None:
    for part, findings in found.items():
        if not findings:
            click.echo(f"{click.style('ok', fg='green'):<16} {part}")
        for finding in findings:
            level = click.style(finding.level, fg=_COLOURS[finding.level])
            click.echo(f"{level:<16} {finding.part}: {visible(finding.problem)}")
            click.echo(f"{'':7} → {visible(finding.cure)}")
    count = sum(map(len, found.values()))
    click.echo(f"\n{count} finding{'' if count == 1 else 's'}" if count else "\nnothing is wrong")

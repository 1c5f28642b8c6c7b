"""The forms in which `hitline report` prints: for a terminal, JSON, CSV.  Sites come at once, or by name in the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from typing import NamedTuple

import click

from deploy.cli.support import as_text
from deploy.report import tables
from deploy.report.figures import Report
from deploy.report.spool import Spool


class Form(NamedTuple):
    """What is printed of a site, and before all, between two, and behind the last; `is_utf_8`: in every locale."""

    render: Callable[[Report], str]
    before: str = ""
    between: str = ""
    behind: str = ""
    is_utf_8: bool = False


def as_json(*, is_single: bool) -> Form:
    """Return the form of an object, or of an array of any number."""
    if is_single:
        return Form(_json, behind="\n")
    return Form(_json, before="[\n", between=",\n", behind="\n]\n")


def as_csv() -> Form:
    """Return the form of one table."""
    return Form(tables.to_csv, before=tables.csv_head(), is_utf_8=True)


def in_terminal() -> Form:
    """Return the form that people read, as wide as the terminal is."""
    from rich.console import Console

    from deploy.report.terminal import show

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a locale that is not UTF-8 can't write all paths
    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)

    def render(report: Report) -> str:
        with console.capture() as captured:
            show(report, console)
        return captured.get()

    return Form(render)


class Printed:
    """Prints sites in a form; `by_name`: when all are there, in that order."""

    def __init__(self, form: Form, *, by_name: bool) -> None:
        self._form = form
        self._waiting = Spool(by_name=True) if by_name else None
        self._any = False

    def add(self, report: Report) -> None:
        """Take a site."""
        text = self._form.render(report)
        if self._waiting:
            self._waiting.add(report.site, text)
        else:
            self._print([text])

    def end(self) -> None:
        """Print what is left."""
        if self._waiting:
            self._print(self._waiting.texts())
        self._write(("" if self._any else self._form.before) + self._form.behind)

    def _print(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._write((self._form.between if self._any else self._form.before) + text)
            self._any = True

    def _write(self, text: str) -> None:
        if self._form.is_utf_8:
            click.echo(text.encode(), nl=False)
        else:
            sys.stdout.write(text)


def _json(report: Report) -> str:
    return json.dumps(tables.to_json(report), indent=2, default=as_text)

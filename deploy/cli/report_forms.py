"""The forms in which `hitline report` prints: for a terminal, JSON, CSV."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import NamedTuple

import click

from deploy.cli.support import as_text
from deploy.report import tables
from deploy.report.figures import Report
from deploy.report.spool import Spool


class Form(NamedTuple):
    """What is printed of a site, before all, between two, and behind the last; `none`: where there is no site.

    `is_utf_8`: in every locale.
    """

    render: Callable[[Report], str]
    before: str = ""
    between: str = ""
    behind: str = ""
    none: str = ""
    is_utf_8: bool = False


def as_json(*, is_single: bool) -> Form:
    """Return the form of an object, or of an array of any number."""
    if is_single:
        return Form(_object, behind="\n")
    return Form(_element, before="[\n", between=",\n", behind="\n]\n", none="[]\n")


def as_csv() -> Form:
    """Return the form of one table."""
    head = tables.csv_head()
    return Form(tables.to_csv, before=head, none=head, is_utf_8=True)


def in_terminal() -> Form:
    """Return the form that people read, as wide as the terminal is."""
    from rich.console import Console

    from deploy.report.terminal import show

    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)

    def render(report: Report) -> str:
        with console.capture() as captured:
            show(report, console)
        return captured.get()

    return Form(render)


class Printed:
    """Prints sites in a form when all are there, so that no error leaves half of an output."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._waiting = Spool()

    def add(self, report: Report, key: str) -> None:
        """Take a site, which is printed by its `key`; raises OSError where the disk has no room for it."""
        self._waiting.add(key, self._form.render(report))

    def end(self) -> None:
        """Print all."""
        is_any = False
        for text in self._waiting.texts():
            self._write((self._form.between if is_any else self._form.before) + text)
            is_any = True
        self._write(self._form.behind if is_any else self._form.none)

    def _write(self, text: str) -> None:
        encoding = "utf-8" if self._form.is_utf_8 else getattr(sys.stdout, "encoding", None) or "utf-8"
        click.echo(text.encode(encoding, "replace"), nl=False)  # a locale that is not UTF-8 can't write all paths


def _object(report: Report) -> str:
    return json.dumps(tables.to_json(report), indent=2, default=as_text)


def _element(report: Report) -> str:
    return json.dumps([tables.to_json(report)], indent=2, default=as_text).removeprefix("[\n").removesuffix("\n]")

"""Showing how a replay goes: a bar on a terminal, a line now and then elsewhere; all on standard error."""

from __future__ import annotations

import time
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from deploy.replay.tally import Fate, Tally
from shared.terminal import visible

_EVERY_S: Final = 10.0


class Bar:
    """A bar with the rate and the remaining time, by bytes of the logs as they are on disk."""

    def __init__(self, total_bytes: int | None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[counts]}"), TimeRemainingColumn(), TextColumn("[yellow]{task.fields[note]}"),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task: TaskID = self._progress.add_task("", total=total_bytes, counts="", note="")
        self._done = 0
        self._size = 0
        self._began = time.monotonic()
        self._progress.start()

    def log(self, name: str, size: int | None, position: int) -> None:
        """See `run.Display`."""
        self._done += self._size
        self._size = size or 0
        self._progress.update(self._task, description=_escape(name), completed=self._done + position)

    def moved(self, position: int | None, lines: int, tally: Tally) -> None:
        """See `run.Display`."""
        rate = lines / max(time.monotonic() - self._began, 0.001)
        counts = f"{lines:,} lines, {tally.of(Fate.ACCEPTED):,} accepted, {rate:,.0f}/s"
        if position is not None:
            self._progress.update(self._task, completed=self._done + position)
        self._progress.update(self._task, counts=counts)

    def note(self, text: str) -> None:
        """Show why it waits; empty: it goes on."""
        self._progress.update(self._task, note=_escape(text))

    def end(self) -> None:
        """Remove the bar."""
        self._progress.stop()


class Plain:
    """A line every ten seconds, and one for each new reason to wait."""

    def __init__(self, total_bytes: int | None) -> None:
        self._total = total_bytes
        self._done = 0
        self._size = 0
        self._began = self._told = time.monotonic()
        self._note = ""

    def log(self, name: str, size: int | None, position: int) -> None:  # noqa: ARG002
        """See `run.Display`."""
        self._done += self._size
        self._size = size or 0

    def moved(self, position: int | None, lines: int, tally: Tally) -> None:
        """See `run.Display`."""
        now = time.monotonic()
        if now - self._told < _EVERY_S:
            return
        self._told = now
        took_s = now - self._began
        share = ""
        if self._total and position is not None and (done := self._done + position):
            left_s = took_s * (self._total - done) / done
            share = f", {100 * done / self._total:.0f} %, {left_s:.0f} s left"
        accepted = tally.of(Fate.ACCEPTED)
        click.echo(f"{lines:,} lines, {accepted:,} accepted, {lines / took_s:,.0f} lines/s{share}", err=True)

    def note(self, text: str) -> None:
        """See `Bar`."""
        reason = text.partition(", ")[2]
        if reason != self._note:
            self._note = reason
            click.echo(visible(text, 300) if text else "going on", err=True)

    def end(self) -> None:
        """Nothing is left to remove."""


def display(total_bytes: int | None) -> Bar | Plain:
    """Return what suits standard error."""
    return Bar(total_bytes) if Console(stderr=True).is_terminal else Plain(total_bytes)


def _escape(text: str) -> str:
    return visible(text, 100).replace("[", r"\[")

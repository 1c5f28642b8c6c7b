"""Shared by the commands: settings, a ClickHouse connection, errors as one clear line."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import click

from deploy.bounds import MEMORY
from shared import logs
from shared.clickhouse import ClickHouse
from shared.clickhouse_address import BadAddress
from shared.clickhouse_errors import explain, failure_of
from shared.settings import Settings, SettingsError, load
from shared.terminal import visible

Result = TypeVar("Result")

#: Long enough for a statement over a large registry, short enough to wait for at a terminal.
READ_SECONDS = 60.0


class CommandError(click.ClickException):
    """The command failed; the message says why and what to do."""

    exit_code = 1


class UnreachableError(Exception):
    """ClickHouse refused a statement or did not answer; the message says what to do."""


def as_click_error(error: Exception) -> click.ClickException:
    """Turn an error into click's: one line; for a bug it names the place without quoting any data."""
    if isinstance(error, (SettingsError, BadAddress, UnreachableError)):
        return CommandError(str(error))
    return _as_broker_error(error) or _as_file_error(error) or _bug(error)


def _as_broker_error(error: Exception) -> CommandError | None:
    from aio_pika.exceptions import AMQPError  # imported only on errors, to keep `--help` quick

    from deploy.queue import connection as broker

    if isinstance(error, broker.BrokerError):
        return CommandError(str(error))
    return CommandError(broker.explain(error)) if isinstance(error, AMQPError) else None


def _as_file_error(error: Exception) -> CommandError | None:
    if isinstance(error, OSError) and error.filename is not None:
        return CommandError(f"{error.filename} can't be read or written: {error.strerror}")
    return None


def _bug(error: Exception) -> CommandError:
    return CommandError(f"unexpected {type(error).__name__} at {_place(error)}: this is a bug in hitline")


def _place(error: Exception) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}" if traceback else "an unknown place"


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's coroutine."""
    return asyncio.run(work)


def load_settings() -> Settings:
    """Read the settings that commands need; warnings, such as unknown settings, go to standard error."""
    logs.set_up(level=logging.WARNING)
    return load(Settings)


@asynccontextmanager
async def connected(url: str, *, read_s: float = READ_SECONDS) -> AsyncIterator[ClickHouse]:
    """Yield a ClickHouse connection whose errors become one line; it is closed afterwards."""
    clickhouse = ClickHouse(
        url, "hitline command", read_s=read_s, settings=MEMORY, cluster=load_settings().clickhouse_cluster, stays=True
    )
    try:
        await clickhouse.client()
        yield clickhouse
    except Exception as error:
        if failure_of(error) is None:
            raise
        raise UnreachableError(explain(error, clickhouse.address)) from error
    finally:
        await clickhouse.close()


def warn(text: str) -> None:
    """Print a warning on standard error."""
    click.echo(f"warning: {visible(text)}", err=True)


def print_json(value: Any) -> None:
    """Print a value as JSON for scripts; ids and times as text."""
    click.echo(json.dumps(value, indent=2, default=as_text))


def as_text(value: Any) -> str:
    """Return a time (UTC, to the millisecond) or an id as text."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be printed as JSON")


def echo_foreign(text: str, *, err: bool = False) -> None:
    """Print lines with text from outside: control characters become visible instead of acting on the terminal."""
    for line in text.split("\n"):
        click.echo(visible(line), err=err)


def print_table(headings: list[str], rows: list[list[str]]) -> None:
    """Print rows in aligned columns, in plain text that `grep` and `cut` can use; foreign text is made visible."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in [headings, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def never_collect() -> None:
    """Stop looking for garbage until a command over a whole registry ends.

    It makes millions of objects that live as long: looking through them again and again took most of its time.
    """
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)

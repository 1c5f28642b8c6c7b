"""`hitline dead allow`: lets workers go on that are paused after many dead letters."""

from __future__ import annotations

import getpass
import socket
from typing import Final

import click

from deploy.cli.listing import StreamedTable
from deploy.cli.output import Output
from deploy.cli.support import connected, load_settings, print_json, run
from shared.clickhouse import ClickHouse

_MOST: Final = 4_000_000_000
_MINUTES: Final = 60
_LIST: Final = """
SELECT allowance_id AS id, if(pageviews = 0, 'all', toString(pageviews)) AS allowed, created_at, expires_at, created_by
FROM hitline_control.dead_letter_allowances ORDER BY created_at, allowance_id
"""
_COLUMNS: Final = {"allowed": 10, "created_at": 32, "expires_at": 32, "created_by": 0}


def _count(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Return the number, 0 for `all`, None where nothing is given."""
    if value is None or value == "all":
        return None if value is None else 0
    if not value.isdecimal() or not 0 < int(value) <= _MOST:
        raise click.BadParameter("give a number of pageviews, or all")
    return int(value)


@click.command("allow")
@click.argument("count", callback=_count, required=False, metavar="[N|all]")
@click.option(
    "--minutes",
    default=_MINUTES,
    show_default=True,
    type=click.IntRange(1, 10_080),
    help="How long it holds for workers that reach their limit.",
)
@click.option("--json", "as_json", is_flag=True, help="Without N: print what was allowed as JSON.")
def allow(count: int | None, minutes: int, as_json: bool) -> None:
    """Let each paused worker dead-letter N pageviews more, or `all`; without N, list what was allowed and by whom."""
    if count is None:
        run(_list(as_json))
        return
    run(_allow(count, minutes))
    what = "any number of pageviews" if count == 0 else f"{count} pageviews more"
    click.echo(f"each worker may dead-letter {what}, for {minutes} minutes from now")


async def _allow(count: int, minutes: int) -> None:
    async with connected(load_settings().clickhouse_url) as clickhouse:
        await _insert(clickhouse, count, minutes, f"{_user()}@{socket.gethostname()}")


async def _insert(clickhouse: ClickHouse, count: int, minutes: int, who: str) -> None:
    await clickhouse.command(
        "INSERT INTO hitline_control.dead_letter_allowances (pageviews, expires_at, created_by)"
        " SELECT {count:UInt32}, now64(6) + toIntervalMinute({minutes:UInt32}), {who:String}",
        {"count": count, "minutes": minutes, "who": who},
        {"async_insert": 0},
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


async def _list(as_json: bool) -> None:
    async with connected(load_settings().clickhouse_url) as clickhouse:
        result = await clickhouse.query(_LIST)
    rows = [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
    if as_json:
        print_json(rows)
        return
    with Output() as output:
        table = StreamedTable(output, _COLUMNS)
        for row in rows:
            table.add(row)
    if not rows:
        click.echo("nothing was allowed", err=True)

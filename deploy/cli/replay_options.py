"""The options of `hitline replay`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from deploy.replay import filters
from deploy.replay.formats import BUILT_IN

_DIRECTORY: Final = click.Path(file_okay=False, path_type=Path)
_FILE: Final = click.Path(exists=True, dir_okay=False)
_FIELDS: Final = "path, query, host, user_agent, referrer, visitor_ip"

_WHERE_TO: Final = (
    click.option(
        "--to", "url", envvar="HITLINE_URL", default="http://127.0.0.1:8080", show_default=True, metavar="URL",
        help="The gateway (or HITLINE_URL).",
    ),
    click.option("--token-file", type=_FILE, help="A file with the API token; else HITLINE_TOKEN."),
)  # fmt: skip
_HOW_TO_READ: Final = (
    click.option("--site-url", metavar="URL", help="Scheme and host where the log names none: https://example.com."),
    click.option(
        "--format", "format_", metavar="FORMAT",
        help=f"{', '.join(BUILT_IN)}; or a template: '$remote_addr …' as nginx's log_format, '%h …' as Apache's"
        " LogFormat.  [default: detected]",
    ),
    click.option(
        "--time-zone", default="UTC", show_default=True, metavar="NAME",
        help="For times without one (HAProxy's), such as Europe/Vienna.",
    ),
    click.option("--forwarded-for", is_flag=True, help="The visitor is X-Forwarded-For's first address, where logged."),
)  # fmt: skip
_WHICH: Final = (
    click.option(
        "--method", "methods", multiple=True, default=filters.METHODS, show_default=True, metavar="NAME",
        help="Methods that are pageviews.",
    ),
    click.option(
        "--status", "statuses", default=filters.STATUSES, show_default=True, metavar="LIST",
        help="Statuses that are pageviews: 200,304 or 2xx or 200-206.",
    ),
    click.option("--static", metavar="LIST", help="Extensions that are not pages (js,css,png,…); '' for none."),
    click.option("--only", multiple=True, metavar="RULE", help=f"FIELD=GLOB or FIELD~REGEX; fields: {_FIELDS}."),
    click.option(
        "--exclude", "leave_out", multiple=True, metavar="RULE",
        help="Leave out what matches, such as visitor_ip=10.0.0.0/8 or 'path=/admin/*'.",
    ),
)  # fmt: skip
_IDS: Final = (
    click.option("--source", default="", metavar="NAME", help="A name for this server, if several have a log each."),
    click.option(
        "--sessions", type=click.Choice(["visit", "clock"]), default="visit", show_default=True,
        help="Visits with pauses of up to 30 minutes, or half hours of the clock.",
    ),
)  # fmt: skip
_HOW_TO_RUN: Final = (
    click.option("-f", "--follow", is_flag=True, help="Keep sending what is written to the log, through rotation."),
    click.option("-n", "--dry-run", is_flag=True, help="Send nothing; show what would be sent."),
    click.option("--from-start", is_flag=True, help="Send again what earlier runs sent; nothing is stored twice."),
    click.option(
        "--state-dir", type=_DIRECTORY, help="For progress and the key of ids.  [default: replay in"
        " HITLINE_STATE_DIR, else in ~/.local/state/hitline]",
    ),
    click.option(
        "--batch", "max_items", type=click.IntRange(1, 50_000), default=500, show_default=True,
        help="Pageviews a request.",
    ),
    click.option("--in-flight", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at once."),
    click.option("--compress", is_flag=True, help="Send gzip."),
    click.option(
        "--give-up-after", type=click.FloatRange(min=0), metavar="SECONDS",
        help="Give up when nothing has been accepted for so long.  [default: never]",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the table as JSON."),
)  # fmt: skip


def replay_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of them."""
    for option in reversed((*_WHERE_TO, *_HOW_TO_READ, *_WHICH, *_IDS, *_HOW_TO_RUN)):
        command = option(command)
    return command

"""What `make run` prints once everything is running: what runs where, and commands to paste."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from deploy.local.demo import hitline_command
from deploy.local.ports import LOOPBACK
from deploy.local.stack import Stack
from shared.clickhouse_address import parse_address

_PAGEVIEW = {
    "url": "https://example.com/hello?utm_source=readme",
    "timestamp": "NOW",
    "visitor_ip": "81.2.69.142",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "referrer": "https://news.example.net/",
}
_COLUMNS = "timestamp, hostname, path, utm_source, country, region, city, provider, asn, browser, os, referrer_host"
_FROM = "FROM hitline.pageviews ORDER BY stored_at DESC LIMIT 1 FORMAT Vertical"


def welcome(stack: Stack) -> str:
    """Return the whole text."""
    directory = stack.directory
    return "\n".join(
        [
            "",
            "Hitline is running:",
            "",
            *_table(_what_runs_where(stack)),
            "",
            f"  data, logs and settings are under {directory.name}/",
            f"  commands:  {_sourced(directory)}; {shlex.join(hitline_command('--help'))}",
            f"  demo token: {stack.settings['HITLINE_DEMO_TOKEN']}",
            "",
            "Post a pageview:",
            "",
            curl(stack.ports.http, stack.settings["HITLINE_DEMO_TOKEN"]),
            "",
            "See it in ClickHouse, a second later:",
            "",
            query(directory),
            "",
            "Ctrl-C stops everything.",
            "",
        ]
    )


def _what_runs_where(stack: Stack) -> list[tuple[str, str, str]]:
    ports = stack.ports
    if stack.clickhouse is None:
        clickhouse = (
            "ClickHouse",
            str(parse_address(stack.settings["HITLINE_CLICKHOUSE_URL"])),
            "yours (HITLINE_CLICKHOUSE_URL)",
        )
    else:
        clickhouse = ("ClickHouse", f"http://{LOOPBACK}:{ports.clickhouse}", "embedded")
    return [
        ("gateway", f"http://{LOOPBACK}:{ports.http}", f"metrics: http://{LOOPBACK}:{ports.admin}/metrics"),
        ("worker", "", f"metrics: http://{LOOPBACK}:{ports.worker_admin}/metrics"),
        ("rollups", "", "hitline rollup --every …: keeps hitline.daily and hitline.hourly up to date"),
        clickhouse,
        ("RabbitMQ", stack.broker.place, stack.broker.kind),
    ]


def _table(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [f"  {name:<{widths[0]}}  {where:<{widths[1]}}  {note}" for name, where, note in rows]


def curl(port: int, token: str) -> str:
    """Return a command for any POSIX shell that posts a pageview of the moment it is run."""
    body = json.dumps(_PAGEVIEW, separators=(",", ":")).replace("NOW", "'\"$(date -u +%FT%TZ)\"'")
    return (
        f"  curl -i http://{LOOPBACK}:{port}/api/ingest/server/pageview \\\n"
        f"    -H 'Authorization: Bearer {token}' \\\n"
        f"    -d '{body}'"
    )


def query(directory: Path) -> str:
    """Return a command that shows the newest row; the address, with a password, is in the directory's `env`."""
    sql = f"SELECT {_COLUMNS}\n     {_FROM}"
    return f"  {_sourced(directory)}; curl \"$HITLINE_CLICKHOUSE_URL\" --data-binary \\\n    '{sql}'"


def _sourced(directory: Path) -> str:
    return f". {shlex.quote(str(directory / 'env'))}"

"""`hitline explain`: taking one pageview through the worker's steps, with each decision and the resulting row."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from deploy.cli.support import CommandError, as_text, connected, echo_foreign, print_json, run
from shared.terminal import visible

_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@click.command
@click.argument("file", required=False)
@click.option("--url", help="The page's URL, instead of the file's.")
@click.option("--ip", help="The visitor's address, instead of the file's.")
@click.option("--user-agent", help="The visitor's user agent, instead of the file's.")
@click.option("--referrer", help="The referrer, instead of the file's.")
@click.option("--json", "as_json", is_flag=True, help="Print steps and row as JSON.")
def explain(
    file: str | None, url: str | None, ip: str | None, user_agent: str | None, referrer: str | None, as_json: bool
) -> None:
    """Show how the pageview in FILE is processed (JSON as posted; - for standard input), step by step.

    It uses the registry in ClickHouse and this machine's lists and databases, and stores nothing. Without FILE, --url
    and --ip describe the pageview.
    """
    if file is None and (url is None or ip is None):
        raise CommandError("no pageview given: name a FILE (- for standard input), or use --url and --ip")
    given = {"url": url, "visitor_ip": ip, "user_agent": user_agent, "referrer": referrer}
    answer = run(_explain(_read(file), {name: value for name, value in given.items() if value is not None}))
    if as_json:
        print_json(answer)
    else:
        _print(answer)


def _read(file: str | None) -> bytes:
    """Return a file's bytes, or a body that lacks only URL and address."""
    if file is None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return json.dumps({"timestamp": now, "user_agent": _BROWSER}).encode()
    try:
        with click.open_file(file, "rb") as stream:
            body: bytes = stream.read()
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}") from None
    return body


async def _explain(body: bytes, changed: Mapping[str, str]) -> dict[str, Any]:
    from deploy.explain import ExplainSettings, check, explain
    from gateway.replies import Rejected
    from shared import logs
    from shared.settings import load

    logs.set_up(level=logging.ERROR)  # the output lists what is missing
    settings = load(ExplainSettings)
    try:
        checked = check(body, changed)
    except Rejected as rejected:
        return {"outcome": "rejected", "status": rejected.reason.status, "message": rejected.text}
    async with connected(settings.clickhouse_url) as clickhouse:
        return await explain(checked, settings, clickhouse)


def _print(answer: dict[str, Any]) -> None:
    if answer["outcome"] == "rejected":
        echo_foreign(f"The gateway would answer {answer['status']}: {answer['message']}")
        return
    for step in answer["steps"]:
        found = ", ".join(f"{name} {visible(_text(value))}" for name, value in step.get("found", {}).items())
        echo_foreign(f"{step['step']:<20} {step['decision']:<5} {found or step.get('rule', '')}".rstrip())
    for name, problem in answer["problems"].items():
        echo_foreign(f"note: {name}: {problem}", err=True)
    if answer["outcome"] != "stored":
        echo_foreign(f"\nIt would be dropped as {answer['outcome']}: {answer['rule']}")
        return
    click.echo("\nIt would be stored as")
    for name, value in answer["row"].items():
        echo_foreign(f"  {name:<16} {visible(_text(value))}".rstrip())


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return as_text(value) if isinstance(value, datetime) else str(value)

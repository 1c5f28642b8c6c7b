"""`hitline reconcile`: accepted = stored + dropped + dead-lettered, in one command.

docs/operations.md says what it can prove and what it can't.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from deploy.cli.support import CommandError, connected, load_settings, print_json, run

if TYPE_CHECKING:
    from shared.clickhouse import ClickHouse

#: How long stored rows may take to be counted before they are reported as not counted.
_COUNTED_S: Final = 15.0
_POLL_S: Final = 0.5
_METRIC: Final = re.compile(r"^hitline_accepted_pageviews_total (\S+)$", re.MULTILINE)
_TIME: Final = click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d"])
_OUTCOMES: Final = """
SELECT sumIf(pageviews, outcome = 'stored') AS stored,
       sumIf(pageviews, outcome = 'dead_lettered') AS dead_lettered,
       sumMapIf(map(outcome, pageviews), outcome NOT IN ('stored', 'dead_lettered')) AS dropped
FROM hitline.outcomes
WHERE NOT startsWith(outcome, 'refused:') AND minute >= {first:DateTime('UTC')} AND minute < {last:DateTime('UTC')}
"""
_ROWS: Final = """
SELECT count() AS pageviews
FROM hitline.pageviews
WHERE received_at >= {first:DateTime('UTC')} AND received_at < {last:DateTime('UTC')}
"""
_WHOSE: Final = """
  AND ({site:String} = '' OR site_id IN (SELECT site_id FROM hitline_control.sites WHERE name = {site:String}))
  AND ({client:String} = '' OR client_id IN
       (SELECT client_id FROM hitline_control.clients WHERE name = {client:String}))
"""


@click.command
@click.option("--from", "first", type=_TIME, default="1970-01-01", help="First minute of acceptance, UTC.")
@click.option("--to", "last", type=_TIME, default="2100-01-01", help="Minute after the last one, UTC.")
@click.option("--site", default="", help="Only this site.")
@click.option("--client", default="", help="Only this API client.")
@click.option("--accepted", type=click.IntRange(min=0), help="How many 202s the sender counted.")
@click.option(
    "--gateway",
    "gateways",
    multiple=True,
    metavar="URL",
    help="Add the accepted count from this /metrics; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def reconcile(
    first: datetime, last: datetime, site: str, client: str, accepted: int | None, gateways: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Check that every accepted pageview has exactly one outcome; exits 1 if not."""
    where = {"first": first.replace(tzinfo=UTC), "last": last.replace(tzinfo=UTC), "site": site, "client": client}
    figures = run(_figures(where))
    if gateways:  # asked last, so that every outcome counted is of a pageview that they had accepted
        accepted = (accepted or 0) + sum(map(_scrape, gateways))
    ended = figures["stored"] + figures["dead_lettered"] + sum(figures["dropped"].values())
    figures |= {"ended": ended, "accepted": accepted, "repeats": figures["stored"] - figures["pageviews"]}
    figures["missing"] = None if accepted is None else accepted - ended
    if as_json:
        print_json(figures)
    else:
        _print(figures)
    _require_balance(figures)


async def _figures(where: dict[str, Any]) -> dict[str, Any]:
    from deploy.queue.depths import depths

    settings = load_settings()
    waiting = await depths(settings.amqp_url)
    async with connected(settings.clickhouse_url) as clickhouse:
        pageviews, outcomes = await _counted(clickhouse, where)
    return {
        "stored": outcomes[0],
        "dead_lettered": outcomes[1],
        "dropped": outcomes[2],
        "pageviews": pageviews,
        "queues": waiting,
    }


async def _counted(clickhouse: ClickHouse, where: dict[str, Any]) -> tuple[int, Sequence[Any]]:
    """Return the number of rows and the outcomes, once workers have counted what they stored.

    Rows are stored before they are counted: they are read first, and a batch between the two is waited for.
    """
    ((pageviews,),) = (await clickhouse.query(_ROWS + _WHOSE, where)).result_rows
    deadline = time.monotonic() + _COUNTED_S
    while True:
        (outcomes,) = (await clickhouse.query(_OUTCOMES + _WHOSE, where)).result_rows
        if outcomes[0] >= pageviews or time.monotonic() > deadline:
            return pageviews, outcomes
        await asyncio.sleep(_POLL_S)


def _scrape(url: str) -> int:
    from urllib.parse import urlsplit
    from urllib.request import urlopen

    if not url.startswith(("http://", "https://")):
        raise CommandError(f"{url} is not a URL; use one like http://gateway:9080")
    if urlsplit(url).path in ("", "/"):
        url = url.rstrip("/") + "/metrics"
    try:
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - the scheme is checked above
            found = _METRIC.search(answer.read().decode())
    except OSError as error:
        raise CommandError(f"{url} does not answer: {type(error).__name__}") from None
    if found is None:
        raise CommandError(f"{url} has no hitline_accepted_pageviews_total: is it a gateway's /metrics?")
    return int(float(found[1]))


def _print(figures: dict[str, Any]) -> None:
    lines: Sequence[tuple[str, Any]] = [
        ("accepted", "(not given: --accepted or --gateway)" if figures["accepted"] is None else figures["accepted"]),
        ("stored", figures["stored"]),
        *((f"dropped: {reason}", count) for reason, count in sorted(figures["dropped"].items()) if count),
        ("dead-lettered", figures["dead_lettered"]),
        ("= outcomes", figures["ended"]),
        ("missing", "" if figures["missing"] is None else figures["missing"]),
        ("rows in pageviews", figures["pageviews"]),
        ("repeats merged", figures["repeats"]),
        *((f"waiting in {name}", count) for name, count in figures["queues"].items()),
    ]
    for name, value in lines:
        click.echo(f"{name:<30} {value}".rstrip())


def _require_balance(figures: dict[str, Any]) -> None:
    if figures["repeats"] < 0:
        raise CommandError(f"{-figures['repeats']} pageviews are in the table without having been counted as stored")
    if figures["missing"] is not None and figures["missing"] < 0:
        raise CommandError(
            f"{-figures['missing']} more pageviews have an outcome than were accepted here: is a gateway"
            " missing, or was one restarted since? Otherwise choose a later --from"
        )
    if figures["missing"]:
        raise CommandError(
            f"{figures['missing']} accepted pageviews have no outcome: are they in the queue? See docs/operations.md"
        )

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
_ENDS: Final = """
SELECT sumIf(pageviews, outcome = 'stored') AS stored,
       sumIf(pageviews, outcome = 'dead_lettered') AS dead_lettered,
       sumMapIf(map(outcome, pageviews), outcome NOT IN ('stored', 'dead_lettered')) AS dropped
FROM hitline.outcomes
WHERE minute >= {first:DateTime('UTC')} AND minute < {last:DateTime('UTC')}
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
    help="Add the accepted count of this /metrics; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def reconcile(
    first: datetime, last: datetime, site: str, client: str, accepted: int | None, gateways: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Check that every accepted pageview has exactly one outcome; exit 1 if one has not."""
    where = {"first": first.replace(tzinfo=UTC), "last": last.replace(tzinfo=UTC), "site": site, "client": client}
    told = run(_figures(where))
    if gateways:  # asked last, so that no pageview has ended that is not in what they accepted
        accepted = (accepted or 0) + sum(map(_scrape, gateways))
    ended = told["stored"] + told["dead_lettered"] + sum(told["dropped"].values())
    told |= {"ended": ended, "accepted": accepted, "repeats": told["stored"] - told["pageviews"]}
    told["missing"] = None if accepted is None else accepted - ended
    if as_json:
        print_json(told)
    else:
        _print(told)
    _judge(told)


async def _figures(where: dict[str, Any]) -> dict[str, Any]:
    from deploy.queue.depths import depths

    settings = load_settings()
    waiting = await depths(settings.amqp_url)
    async with connected(settings.clickhouse_url) as clickhouse:
        pageviews, ends = await _counted(clickhouse, where)
    return {"stored": ends[0], "dead_lettered": ends[1], "dropped": ends[2], "pageviews": pageviews, "queues": waiting}


async def _counted(clickhouse: ClickHouse, where: dict[str, Any]) -> tuple[int, Sequence[Any]]:
    """Return how many rows there are, and their ends, as they are once workers have counted what they stored.

    Rows are stored before they are counted, so they are read first, and a batch between the two is waited for.
    """
    ((pageviews,),) = (await clickhouse.query(_ROWS + _WHOSE, where)).result_rows
    deadline = time.monotonic() + _COUNTED_S
    while True:
        (ends,) = (await clickhouse.query(_ENDS + _WHOSE, where)).result_rows
        if ends[0] >= pageviews or time.monotonic() > deadline:
            return pageviews, ends
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


def _print(told: dict[str, Any]) -> None:
    lines: Sequence[tuple[str, Any]] = [
        ("accepted", "(not given: --accepted or --gateway)" if told["accepted"] is None else told["accepted"]),
        ("stored", told["stored"]),
        *((f"dropped: {reason}", count) for reason, count in sorted(told["dropped"].items()) if count),
        ("dead-lettered", told["dead_lettered"]),
        ("= ended", told["ended"]),
        ("missing", "" if told["missing"] is None else told["missing"]),
        ("rows in pageviews", told["pageviews"]),
        ("repeats merged", told["repeats"]),
        *((f"waiting in {name}", count) for name, count in told["queues"].items()),
    ]
    for name, value in lines:
        click.echo(f"{name:<30} {value}".rstrip())


def _judge(told: dict[str, Any]) -> None:
    if told["repeats"] < 0:
        raise CommandError(f"{-told['repeats']} pageviews are in the table without having been counted as stored")
    if told["missing"] is not None and told["missing"] < 0:
        raise CommandError(
            f"{-told['missing']} more pageviews have an outcome than were accepted here: is a gateway"
            " missing, or its count from before a restart? Or should --from be later?"
        )
    if told["missing"]:
        raise CommandError(
            f"{told['missing']} accepted pageviews have no outcome: are they in the queue? See docs/operations.md"
        )

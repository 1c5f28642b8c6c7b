"""`hitline reconcile`: accepted = stored + dropped + dead-lettered, in one command.

docs/operations/observe.md says what it can prove and what it can't.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from deploy.cli.support import CommandError, as_text, connected, load_settings, print_json, run, warn
from deploy.outcomes import ledger, verified
from deploy.outcomes.ledger import FIRST, Period
from deploy.outcomes.verified import Verified
from shared import queue

if TYPE_CHECKING:
    from shared.clickhouse import ClickHouse

_TIME: Final = click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d"])


class Gateways(NamedTuple):
    """What gateways counted since they were started: pageviews answered 202, and published ones that were not."""

    accepted: int
    #: Answered 503 "unknown", or to a client that had gone: they may have been taken.
    unknown: int


@click.command
@click.option("--from", "first", type=_TIME, help="First minute of acceptance, UTC. [default: below]")
@click.option("--to", "last", type=_TIME, default="2100-01-01", help="Minute after the last one, UTC.")
@click.option("--site", default="", help="Only this site.")
@click.option("--client", default="", help="Only this API client.")
@click.option("--accepted", type=click.IntRange(min=0), help="How many 202s the sender counted.")
@click.option(
    "--gateway",
    "gateways",
    multiple=True,
    metavar="URL",
    help="Add the counts from this /metrics; repeatable.",
)
@click.option("--recount", is_flag=True, help="Count everything again, also what was verified before.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def reconcile(
    first: datetime | None, last: datetime, site: str, client: str, accepted: int | None, gateways: tuple[str, ...],
    recount: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check that every accepted pageview has exactly one outcome; exits 1 if not.

    Without --from it takes up where the last run ended that found everything in order; with --accepted, --gateway,
    --site or --client, which are about a period of their own, it looks at everything.  Of what was verified before it
    takes the sums that were noted then, unless --recount, --site or --client is given.
    """
    goes_on = first is None and accepted is None and not (gateways or site or client or recount)
    period = Period(first.replace(tzinfo=UTC) if first else FIRST, last.replace(tzinfo=UTC), site, client)
    figures = run(_figures(period, goes_on=goes_on, recount=recount))
    unknown = 0
    if gateways:  # asked last, so that every outcome counted is of a pageview that they had accepted
        counted = [_scrape(url) for url in gateways]
        accepted = (accepted or 0) + sum(each.accepted for each in counted)
        unknown = sum(each.unknown for each in counted)
    ended = figures["stored"] + figures["dead_lettered"] + sum(figures["dropped"].values())
    figures |= {"ended": ended, "accepted": accepted, "unknown": unknown}
    figures |= {"repeats": figures["stored"] - figures["pageviews"], "missing": _missing(accepted, unknown, ended)}
    if as_json:
        print_json(figures)
    else:
        _print(figures)
    _require_balance(figures)


async def _figures(period: Period, *, goes_on: bool, recount: bool) -> dict[str, Any]:
    from deploy.queue.depths import depths

    settings = load_settings()
    began = datetime.now(UTC)
    waiting = await depths(settings.amqp_url)
    async with connected(settings.clickhouse_url) as clickhouse:
        if goes_on:
            period = replace(period, first=min(await ledger.verified_to(clickhouse), period.last))
        counted, sums = await verified.count(clickhouse, period, began, again=recount)
        if counted.stored >= counted.pageviews and not waiting[queue.QUEUE]:
            await _note(clickhouse, period, counted, began, sums)
    return {
        "from": period.first,
        "to": period.last,
        "stored": counted.stored,
        "dead_lettered": counted.dead_lettered,
        "dropped": counted.dropped,
        "pageviews": counted.pageviews,
        "queues": waiting,
    }


async def _note(
    clickhouse: ClickHouse, period: Period, counted: ledger.Counted, began: datetime, sums: Verified | None
) -> None:
    try:
        await ledger.note(clickhouse, period, counted, began)
        if sums:
            await verified.note(clickhouse, sums)
    except Exception as error:  # noqa: BLE001 - the figures are right, and the next run begins where this one did
        warn(f"it is not noted how far this has been verified: {type(error).__name__}; see deploy/schema/access")


def _missing(accepted: int | None, unknown: int, ended: int) -> int | None:
    """Return how many accepted pageviews have no outcome; below 0, how many outcomes too many there are.

    Of those of unknown fate any number may have been taken.
    """
    if accepted is None:
        return None
    return accepted - ended if ended < accepted else min(0, accepted + unknown - ended)


def _scrape(url: str) -> Gateways:
    from urllib.parse import urlsplit
    from urllib.request import urlopen

    if not url.startswith(("http://", "https://")):
        raise CommandError(f"{url} is not a URL; use one like http://gateway:9080")
    if urlsplit(url).path in ("", "/"):
        url = url.rstrip("/") + "/metrics"
    try:
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - the scheme is checked above
            text = answer.read().decode()
    except OSError as error:
        raise CommandError(f"{url} does not answer: {type(error).__name__}") from None
    accepted = _metric(text, "hitline_accepted_pageviews_total")
    if accepted is None:
        raise CommandError(f"{url} has no hitline_accepted_pageviews_total: is it a gateway's /metrics?")
    published = [
        _metric(text, f'hitline_published_pageviews_total{{result="{result}"}}') or 0
        for result in ("confirmed", "unknown_fate")
    ]
    return Gateways(accepted, max(0, sum(published) - accepted))


def _metric(text: str, name: str) -> int | None:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return None if found is None else int(float(found[1]))


def _print(figures: dict[str, Any]) -> None:
    begin = "the beginning" if figures["from"] == FIRST else as_text(figures["from"])
    accepted = "(not given: --accepted or --gateway)" if figures["accepted"] is None else figures["accepted"]
    lines: Sequence[tuple[str, Any]] = [
        ("accepted from", begin),
        ("accepted", accepted),
        *([("of unknown fate", figures["unknown"])] if figures["unknown"] else []),
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
    if figures["unknown"]:
        click.echo(
            "of unknown fate: answered 503 'unknown', or their client had gone. Any of them may be among the outcomes,"
            " also in place of an accepted one"
        )


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
            f"{figures['missing']} accepted pageviews have no outcome: are they in the queue? "
            "See docs/operations/observe.md"
        )

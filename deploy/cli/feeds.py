"""`hitline feeds`: public lists of spammers and of sources; workers pick up new ones without a restart."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.cli.signals import clean_up_on_sigterm
from deploy.cli.support import CommandError, load_settings
from worker.lookups.updates.feeds import FEEDS, BusyError, update_feeds


@click.group
def feeds() -> None:
    """Download lists of spammers, search engines, social networks and AI assistants."""


@feeds.command
@click.option("--force", is_flag=True, help="Accept a list even if it has shrunk to less than half.")
@click.option("--drop-v4-url", default=FEEDS[0].url, hidden=True)
@click.option("--drop-v6-url", default=FEEDS[1].url, hidden=True)
@click.option("--referrers-url", default=FEEDS[2].url, hidden=True)
@click.option("--sources-url", default=FEEDS[3].url.rpartition("/")[0], hidden=True)
def update(force: bool, drop_v4_url: str, drop_v6_url: str, referrers_url: str, sources_url: str) -> None:
    """Download Spamhaus DROP (v4, v6) and Matomo's lists of spam referrers and of sources.

    Running workers pick them up within seconds.

    If a list can't be downloaded or is invalid, the old one stays and the exit code is 1.
    """
    clean_up_on_sigterm()
    urls = (drop_v4_url, drop_v6_url, referrers_url, *(f"{sources_url}/{Path(feed.file).name}" for feed in FEEDS[3:]))
    wanted = [feed._replace(url=url) for feed, url in zip(FEEDS, urls, strict=True)]
    directory = load_settings().state_dir / "feeds"
    try:
        results = update_feeds(directory, wanted, force=force)
    except (BusyError, OSError) as error:
        raise CommandError(str(error)) from None
    for result in results:
        click.echo(f"{directory / result.feed.file}: {result.text}", err=not result.ok)
    if not all(result.ok for result in results):
        raise click.exceptions.Exit(1)

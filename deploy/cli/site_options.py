"""The options of a site: which query parameters are stored, whether fragments are paths, whose sessions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import click

from deploy.cli.support import CommandError
from shared.registry import Site
from worker.lookups.query_rules import parse_patterns

#: Whose sessions: those that clients send, each pageview without one a session of its own; or besides the visitor's.
SESSIONS: Final = ("sent", "derived")


class SiteOptions(NamedTuple):
    """What was given; None leaves it as it is."""

    query_keep: tuple[str, ...] | None
    query_drop: tuple[str, ...] | None
    hash_paths: bool | None
    derived_sessions: bool | None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> SiteOptions:
        """Read the options that `site_options` adds to a command; raises `CommandError` for a wrong pattern."""
        sessions = given["sessions"]
        return cls(
            _patterns("--query-keep", given["query_keep"]),
            _patterns("--query-drop", given["query_drop"]),
            given["hash_paths"],
            None if sessions is None else sessions == "derived",
        )

    def apply(self, site: Site) -> Site:
        """Return the site with what was given."""
        return dataclasses.replace(site, **{name: value for name, value in self._asdict().items() if value is not None})


def site_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in (
        click.option(
            "--sessions",
            type=click.Choice(SESSIONS),
            help="derived: a pageview without session_id gets its visitor's of that day.  [default: sent]",
        ),
        click.option("--hash-paths/--no-hash-paths", default=None, help="A fragment like #/a or #!/a is path."),
        click.option(
            "--query-drop", multiple=True, metavar="PATTERN", help="Do not store these query parameters; '' for none."
        ),
        click.option(
            "--query-keep",
            multiple=True,
            metavar="PATTERN",
            help="Store only these query parameters, such as page or filter*; '' for all.",
        ),
    ):
        command = option(command)
    return command


def _patterns(option: str, texts: tuple[str, ...]) -> tuple[str, ...] | None:
    if not texts:
        return None
    try:
        return parse_patterns(text for text in texts if text)
    except ValueError as error:
        raise CommandError(f"{option} {' '.join(texts)!r}: {error}") from None


def described(site: Site) -> str:
    """Return the options that are not the default, in words; empty if all are."""
    words = []
    if site.query_keep:
        words.append(f"query: only {', '.join(site.query_keep)}")
    if site.query_drop:
        words.append(f"query: without {', '.join(site.query_drop)}")
    if site.hash_paths:
        words.append("fragments are paths")
    if site.derived_sessions:
        words.append("sessions derived")
    return "; ".join(words)


def as_dict(site: Site) -> dict[str, object]:
    """Return all options, as `hitline site list --json` prints them."""
    return {
        "query_keep": list(site.query_keep),
        "query_drop": list(site.query_drop),
        "hash_paths": site.hash_paths,
        "sessions": SESSIONS[site.derived_sessions],
    }

"""`hitline dead`: the pageviews and messages that could not be processed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address, ip_network
from typing import Any, Final

import click

from deploy.cli.support import CommandError, connected, echo_foreign, load_settings, print_json, print_table, run
from deploy.queue.dead_letters import DeadLetter, DeadLetterQueue, open_dead_letters, selector
from shared.pageview import QueuedPageview, Unparseable
from shared.seal import Opener, Unopenable
from shared.settings import QueueKeys, Settings, load

_WAIT_SECONDS: Final = 60.0


class _ShowSettings(Settings):
    queue_keys: QueueKeys


def _selection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select letters; commands that change something refuse to run without one."""
    for option in (
        click.option("--all", "all_", is_flag=True, help="All dead letters."),
        click.option("--reason", metavar="TEXT", help="Only letters whose reason contains TEXT."),
        click.argument("ids", nargs=-1),
    ):
        command = option(command)
    return command


def _queue() -> AbstractAsyncContextManager[DeadLetterQueue]:
    return open_dead_letters(load_settings().amqp_url, "hitline dead")


@click.group
def dead() -> None:
    """List, show, replay and purge dead letters: sealed pageviews that could not be processed, with the reason."""


@dead.command("list")
@click.option("--reason", metavar="TEXT", help="Only letters whose reason contains TEXT.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(reason: str | None, as_json: bool) -> None:
    """List dead letters, the oldest first; no key is needed."""
    found = run(_summaries((), reason))
    if as_json:
        print_json(found)
    elif found:
        columns = ["id", "died_at", "worker", "pageviews", "reason"]
        print_table([name.upper() for name in columns], [[str(each[name]) for name in columns] for each in found])
    else:
        click.echo("no dead letters", err=True)


async def _summaries(ids: tuple[str, ...], reason: str | None) -> list[dict[str, Any]]:
    selected = selector(ids, reason)
    async with _queue() as source:
        found = [letter.summary() async for letter in source.letters() if selected(letter)]
    return sorted(found, key=lambda each: (each["died_at"], each["id"]))


@dead.command
@click.argument("id_", metavar="ID")
@click.option("--reveal", is_flag=True, help="Do not mask the visitor's address.")
def show(id_: str, reveal: bool) -> None:
    """Show the contents of a dead letter; needs HITLINE_QUEUE_KEYS, and masks the visitor's address."""
    _refuse_empty((id_,))
    settings = load(_ShowSettings)
    found = run(_show(id_, Opener(settings.queue_keys), reveal))
    print_json(found)
    if "unreadable" in found:
        raise CommandError(f"the dead letter can't be opened: {found['unreadable']}")


async def _show(id_: str, opener: Opener, reveal: bool) -> dict[str, Any]:
    async with _queue() as source:
        async for letter in source.letters():
            if letter.letter_id.startswith(id_):
                return {**letter.summary(), **_contents(letter, opener, reveal)}
    raise CommandError(f"there is no dead letter with the id {id_}: see `hitline dead list`")


def _contents(letter: DeadLetter, opener: Opener, reveal: bool) -> dict[str, Any]:
    try:
        return {"contents": [_shown(item, reveal) for item in letter.contents(opener)]}
    except (Unopenable, Unparseable) as error:
        return {"contents": [], "unreadable": str(error)}


def _shown(item: QueuedPageview | str, reveal: bool) -> dict[str, Any]:
    if isinstance(item, str):
        return {"unreadable": item}
    fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in item._asdict().items()}
    return fields if reveal else {**fields, "visitor_ip": _mask(item.visitor_ip)}


def _mask(address: str) -> str:
    """Return the network (/24, /48) instead of the address, and nothing of any other text."""
    try:
        return str(ip_network((address, 24 if ip_address(address).version == 4 else 48), strict=False))
    except ValueError:
        return "(no address)"


@dead.command
@_selection
@click.option("--wait", "wait_s", default=_WAIT_SECONDS, show_default=True, help="Seconds to wait for their outcomes.")
@click.option("--json", "as_json", is_flag=True, help="Print each letter's outcome as JSON.")
def replay(ids: tuple[str, ...], reason: str | None, all_: bool, wait_s: float, as_json: bool) -> None:
    """Process dead letters again (exactly once) and report each one's outcome."""
    _require_selection(ids, reason, all_)
    found, seen = run(_replay(ids, reason, wait_s))
    if as_json:
        print_json(found)
        _refuse_unknown(ids, seen)
        return
    for each in found:
        echo_foreign(f"{each['id']}  {each['end']}")
    outcomes = Counter(each["end"] for each in found)
    totals = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    click.echo(totals or "nothing to replay", err=True)
    _refuse_unknown(ids, seen)


async def _replay(ids: tuple[str, ...], reason: str | None, wait_s: float) -> tuple[list[dict[str, str]], set[str]]:
    """Return the outcome of each letter, and the ids of all that were selected, duplicates included."""
    from deploy.queue.replays import outcomes_of, server_version

    selected = selector(ids, reason)
    settings = load_settings()
    async with connected(settings.clickhouse_url) as clickhouse:
        began = await server_version(clickhouse)
        replayed: dict[str, DeadLetter] = {}
        published = set()
        seen = set()
        async with open_dead_letters(settings.amqp_url, "hitline dead") as source:
            async for letter in source.letters():
                if not selected(letter):
                    continue
                seen.add(letter.letter_id)
                if letter.duplicate_key in published:
                    await source.remove(letter)
                    continue
                await source.replay(letter)
                published.add(letter.duplicate_key)
                replayed[letter.letter_id] = letter
        keys = {name: (letter.key.batch_id, letter.key.part) for name, letter in replayed.items()}
        progress = lambda count: click.echo(f"{count} of {len(keys)} processed", err=True)  # noqa: E731
        outcomes = await outcomes_of(clickhouse, set(keys.values()), began, wait_s, progress)
    return [{"id": name, "end": outcomes.get(key, "still in the queue")} for name, key in keys.items()], seen


@dead.command
@_selection
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def purge(ids: tuple[str, ...], reason: str | None, all_: bool, yes: bool) -> None:
    """Delete dead letters for good."""
    _require_selection(ids, reason, all_)
    found = run(_summaries(ids, reason))
    _refuse_unknown(ids, {each["id"] for each in found})
    if not found:
        click.echo("no dead letters", err=True)
        return
    if not yes:
        lost = sum(each["pageviews"] for each in found)
        click.confirm(f"Delete {len(found)} dead letters with {lost} pageviews for good?", abort=True)
    # Exactly the letters that were confirmed, not those added since.
    count = run(_purge({each["id"] for each in found}))
    click.echo(f"{count} dead letters purged")


async def _purge(ids: set[str]) -> int:
    count = 0
    async with _queue() as source:
        async for letter in source.letters():
            if letter.letter_id in ids:
                await source.remove(letter)
                count += 1
    return count


def _refuse_unknown(ids: tuple[str, ...], seen: set[str]) -> None:
    """Raise if one of `ids` is not a prefix of any id in `seen`."""
    unknown = [id_ for id_ in ids if not any(each.startswith(id_.lower()) for each in seen)]
    if unknown:
        raise CommandError(f"there is no dead letter with the id {', '.join(unknown)}: see `hitline dead list`")


def _require_selection(ids: tuple[str, ...], reason: str | None, all_: bool) -> None:
    if not ids and not reason and not all_:
        raise click.UsageError("no dead letters selected: give ids, --reason TEXT or --all")
    _refuse_empty(ids)


def _refuse_empty(ids: tuple[str, ...]) -> None:
    """Refuse an empty id, such as an unset shell variable: it would be a prefix of every id."""
    if not all(each.strip() for each in ids):
        raise click.UsageError("an id is empty")

"""`hitline dead`: the pageviews and messages that could not be processed."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import Any, Final

import click

from deploy.cli.dead_allow import allow
from deploy.cli.dead_outcomes import OutcomesOfReplay
from deploy.cli.listing import Progress, StreamedJson, StreamedTable
from deploy.cli.output import Output
from deploy.cli.support import CommandError, connected, load_settings, print_json, run, warn
from deploy.queue.dead_letters import DeadLetter, Unmatched, selector
from deploy.queue.turns import DeadLetterQueue, Turn, open_dead_letters
from shared.pageview import QueuedPageview, Unparseable
from shared.seal import Opener, Unopenable
from shared.settings import QueueKeys, Settings, load

_WAIT_SECONDS: Final = 60.0
#: Widths of the columns of `list`.
_COLUMNS: Final = {"id": 36, "died_at": 29, "worker": 20, "pageviews": 9, "reason": 0}


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
    waiting = lambda: click.echo("waiting for another `hitline dead` to finish its turn", err=True)  # noqa: E731
    return open_dead_letters(load_settings().amqp_url, "hitline dead", waiting)


@click.group
def dead() -> None:
    """Dead letters: sealed pageviews that could not be processed, with the reason."""


dead.add_command(allow)


@dead.command("list")
@click.option("--reason", metavar="TEXT", help="Only letters whose reason contains TEXT.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(reason: str | None, as_json: bool) -> None:
    """List dead letters, the oldest first; no key is needed."""
    with Output() as output:
        table, array_ = StreamedTable(output, _COLUMNS), StreamedJson(output)
        add = array_.add if as_json else table.add
        run(_list(selector((), reason), lambda letter: add(letter.summary()), output))
        if as_json:
            array_.end()
        elif not table.any:
            click.echo("no dead letters", err=True)


async def _list(
    selected: Callable[[DeadLetter], bool], show: Callable[[DeadLetter], None], output: Output | None = None
) -> None:
    async with _queue() as source:
        async for letter in source.letters():
            if selected(letter):
                show(letter)
            if output is not None:
                await output.room()


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
    with Output() as output:
        report = OutcomesOfReplay(output, as_json)
        unknown = run(_replay(ids, reason, wait_s, report, output))
        report.end()
    _refuse_unknown(unknown)


#: Letters of one pageview, written twice by a worker that was killed, are near to each other in the queue.
_REMEMBERED: Final = 50_000


async def _replay(
    ids: tuple[str, ...], reason: str | None, wait_s: float, report: OutcomesOfReplay, output: Output
) -> Unmatched:
    """Replay what is selected and report each letter's outcome; returns the ids that no letter has."""
    from deploy.queue.replays import ReplayOutcomes, server_version

    unmatched = Unmatched(ids)
    published: dict[Any, None] = {}
    progress = Progress("replayed")
    async with connected(load_settings().clickhouse_url) as clickhouse, _queue() as source:
        outcomes = ReplayOutcomes(clickhouse, await server_version(clickhouse), wait_s, report.add, warn)

        async def act(turn: Turn, letters: Sequence[DeadLetter]) -> None:
            new = []
            for letter in letters:
                unmatched.note(letter)
                if letter.duplicate_key in published:
                    await turn.remove([letter])
                    continue
                published[letter.duplicate_key] = None
                new.append(letter)
            await turn.replay(new)
            for key in list(islice(published, max(0, len(published) - _REMEMBERED))):
                del published[key]
            progress.add(len(letters))
            await outcomes.add([(letter.key, letter.letter_id) for letter in new])
            await output.room()

        await source.each(selector(ids, reason), act)
        await outcomes.finish()
    return unmatched


@dead.command
@_selection
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def purge(ids: tuple[str, ...], reason: str | None, all_: bool, yes: bool) -> None:
    """Delete dead letters for good."""
    _require_selection(ids, reason, all_)
    selected = selector(ids, reason)
    unmatched = Unmatched(ids)
    found = array("q")  # a set would take much more memory
    lost = 0

    def note(letter: DeadLetter) -> None:
        nonlocal lost
        unmatched.note(letter)
        found.append(letter.fingerprint)
        lost += letter.pageviews

    run(_list(selected, note))
    _refuse_unknown(unmatched)
    if not found:
        click.echo("no dead letters", err=True)
        return
    if not yes:
        click.confirm(f"Delete {len(found)} dead letters with {lost} pageviews for good?", abort=True)
    # Exactly the letters that were confirmed, not those added since.
    confirmed = array("q", sorted(found))
    count = run(_purge(lambda letter: _contains(confirmed, letter.fingerprint)))
    click.echo(f"{count} dead letters purged")


def _contains(numbers: Sequence[int], number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


async def _purge(selected: Callable[[DeadLetter], bool]) -> int:
    count = 0
    progress = Progress("purged")

    async def act(turn: Turn, letters: Sequence[DeadLetter]) -> None:
        nonlocal count
        await turn.remove(letters)
        count += len(letters)
        progress.add(len(letters))

    async with _queue() as source:
        await source.each(selected, act)
    return count


def _refuse_unknown(unmatched: Unmatched) -> None:
    """Raise if there are ids that no letter begins with."""
    if unmatched.ids:
        unknown = ", ".join(unmatched.ids.values())
        raise CommandError(f"there is no dead letter with the id {unknown}: see `hitline dead list`")


def _require_selection(ids: tuple[str, ...], reason: str | None, all_: bool) -> None:
    if not ids and not reason and not all_:
        raise click.UsageError("no dead letters selected: give ids, --reason TEXT or --all")
    _refuse_empty(ids)


def _refuse_empty(ids: tuple[str, ...]) -> None:
    """Refuse an empty id, such as an unset shell variable: it would be a prefix of every id."""
    if not all(each.strip() for each in ids):
        raise click.UsageError("an id is empty")

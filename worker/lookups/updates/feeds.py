"""Fetching the public lists of spammers and of sources into the directory that workers watch.

Each feed is on its own: one that can't be downloaded or is invalid leaves its old file and all others alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from shared.download import DownloadError, Fetched, fetch
from worker.lookups.source_list import BadSourceList, parse_matomo
from worker.lookups.sources import DOWNLOADED
from worker.lookups.spam_files import BadList, parse_list

_LIMIT_BYTES: Final = 16 << 20


class Feed(NamedTuple):
    """A public list: the file it becomes, where it is, and what it lists: `networks`, `hosts` or `sources`."""

    file: str
    url: str
    lists: str


FEEDS: Final = (
    Feed("drop_v4.json", "https://www.spamhaus.org/drop/drop_v4.json", "networks"),
    Feed("drop_v6.json", "https://www.spamhaus.org/drop/drop_v6.json", "networks"),
    Feed(
        "referrer_spam.txt",
        "https://raw.githubusercontent.com/matomo-org/referrer-spam-list/master/spammers.txt",
        "hosts",
    ),
    *(
        Feed(
            f"sources/{file}",
            f"https://raw.githubusercontent.com/matomo-org/searchengine-and-social-list/master/{file}",
            "sources",
        )
        for file in DOWNLOADED
    ),
)


class Result(NamedTuple):
    """What became of a feed: `ok` when its file is as new as the feed; `text` is for people."""

    feed: Feed
    ok: bool
    text: str
    #: Refused because it lists less than half of what the old one does.
    shrunk: bool = False


class BusyError(Exception):
    """Another process is updating the feeds of this directory right now."""


def update_feeds(directory: Path, feeds: Sequence[Feed] = FEEDS, *, force: bool = False) -> list[Result]:
    """Bring each feed's file in `directory` up to date; `force` takes lists that shrank to less than half, too.

    Raises `BusyError`, and `OSError` when the directory can't be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        return [_update(directory, feed, force) for feed in feeds]


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another process is updating {directory}") from None
        yield


def _update(directory: Path, feed: Feed, force: bool) -> Result:
    path = directory / feed.file
    try:
        conditions = _conditions(path, feed)
        content, fetched = _fetch(feed, conditions)
        if not fetched.changed:
            if not conditions:
                raise DownloadError("the server answered 304 Not Modified to a request without conditions")
            path.touch()  # it is as new as the feed: workers report the file's time
            return Result(feed, True, "unchanged")
        found = _count(content, feed)
        before = _count_before(path, feed)
        if found * 2 < before and not force:
            text = (
                f"lists {found} {feed.lists}, less than half of the {before} in use; the old list stays"
                " (`hitline feeds update --force` takes the new one)"
            )
            return Result(feed, False, text, shrunk=True)
    except (DownloadError, BadList) as error:
        return Result(feed, False, f"{error}; the old list stays" if path.exists() else str(error))
    _replace(path, content)
    kept = {"url": feed.url, "etag": fetched.headers.get("etag"), "modified": fetched.headers.get("last-modified")}
    _replace(_notes_path(path), json.dumps(kept).encode())
    return Result(feed, True, f"{found} {feed.lists}")


def _fetch(feed: Feed, headers: Mapping[str, str]) -> tuple[bytes, Fetched]:
    with tempfile.TemporaryFile() as file:
        fetched = fetch(feed.url, file, limit_bytes=_LIMIT_BYTES, headers=headers)
        file.seek(0)
        return file.read(), fetched


def _count(content: bytes, feed: Feed) -> int:
    """Return how much a list holds of what the feed is for; raises `BadList` when it holds anything else."""
    if feed.lists == "sources":
        try:
            return len(parse_matomo(content, DOWNLOADED[Path(feed.file).name]).hosts)
        except BadSourceList as error:
            raise BadList(str(error)) from None
    found = parse_list(content)
    wanted, other = (found.networks, found.hosts) if feed.lists == "networks" else (found.hosts, found.networks)
    if other or not wanted:
        raise BadList(f"is not a list of {feed.lists}")
    return len(wanted)


def _count_before(path: Path, feed: Feed) -> int:
    try:
        return _count(path.read_bytes(), feed)
    except (OSError, BadList):
        return 0  # missing or damaged: any valid list is better


def _conditions(path: Path, feed: Feed) -> dict[str, str]:
    """Return the headers that ask for the list only if it changed (RFC 9110, 13.1); none without a valid old one."""
    try:
        notes: dict[str, Any] = json.loads(_notes_path(path).read_bytes())
        _count(path.read_bytes(), feed)
    except (OSError, ValueError, BadList):
        return {}
    if not isinstance(notes, dict) or notes.get("url") != feed.url:
        return {}
    headers = {"If-None-Match": notes.get("etag"), "If-Modified-Since": notes.get("modified")}
    return {name: value for name, value in headers.items() if isinstance(value, str)}


def _notes_path(path: Path) -> Path:
    """Where a list's validators are kept: a hidden file, which `spam.py` ignores."""
    return path.with_name(f".{path.name}.notes")


def _replace(path: Path, content: bytes) -> None:
    """Replace the file atomically; its content is on disk before it has the name."""
    path.parent.mkdir(exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)

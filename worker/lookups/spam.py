"""Networks and referrer hosts of spammers, from the downloaded feeds and from operators' own lists."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from shared.hostnames import parents
from shared.metrics import LOOKUP_STALE, LOOKUP_UPDATED
from worker.lookups.addresses import parse_address
from worker.lookups.domains import is_public_suffix
from worker.lookups.networks import Network, Networks
from worker.lookups.spam_files import BadList, SpamList, parse_list, read_list
from worker.lookups.watched import Signature, signature

log = logging.getLogger(__name__)

_CACHED_ADDRESSES: Final = 65_536
_CACHED_HOSTS: Final = 16_384
_BUILT_IN: Final = Path(__file__).with_name("spam_hosts.txt")
_BUILT_IN_NAME: Final = "the built-in list"

#: What lists are called; a damaged file of such a name is a list that is missing.
_LIST_SUFFIXES: Final = frozenset({"", ".txt", ".list", ".lst", ".json", ".jsonl", ".cidr", ".netset", ".ipset"})
_ABOUT: Final = frozenset({"README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "CHANGELOG", "MAKEFILE"})

Find = Callable[[str], str | None]


class Spam:
    """The lists in use; `find_network` and `find_host` answer from them, `refresh` picks up changed files.

    Every file of the directories counts but hidden ones.  One that is damaged is reported in `problems` (file →
    what is wrong), and what it listed before stays in use; one that is removed lists nothing any more.  One that is
    no list, neither by its name nor by what is in it, is passed over.  A directory may be missing unless it is `named`.
    """

    def __init__(self, directories: Sequence[Path], named: Path | None = None) -> None:
        self._directories = tuple(directories)
        self._named = named
        self._seen: dict[Path, Signature | None] = {}
        self._lists: dict[Path, SpamList] = {}
        self._built_in = parse_list(_BUILT_IN.read_bytes())
        self.problems: dict[str, str] = {}
        self.find_network: Find
        self.find_host: Find
        self._use()
        self.refresh()

    def refresh(self) -> None:
        """Take up lists that changed on disk; safe on another thread than the look-ups', raises nothing."""
        paths = [path for directory in self._directories for path in self._files(directory)]
        changed = [path for path in paths if path not in self._seen or signature(path) != self._seen[path]]
        gone = [path for path in self._seen if path not in paths]
        for path in gone:
            self._seen.pop(path)
            self._lists.pop(path, None)
            self.problems.pop(str(path), None)
        for path in changed:
            self._take(path)
        if changed or gone:
            self._use()
        LOOKUP_STALE.labels("spam").set(1 if self.problems else 0)
        times = [seen.changed_ns for path, seen in self._seen.items() if seen is not None and path in self._lists]
        if times:
            LOOKUP_UPDATED.labels("spam").set(min(times) / 1e9)

    def describe(self) -> dict[str, str]:
        """Return what each file in use lists, for people."""
        return {
            str(path): f"{len(found.networks)} networks, {len(found.hosts)} hosts"
            for path, found in self._lists.items()
        }

    def _files(self, directory: Path) -> list[Path]:
        try:
            found = sorted(path for path in directory.iterdir() if path.name[0] != "." and path.is_file())
        except OSError as error:
            if directory != self._named and isinstance(error, FileNotFoundError):
                return []  # not there (yet): no lists
            problem = f"can't be read: {error.strerror}"
            if self.problems.get(str(directory)) != problem:
                self.problems[str(directory)] = problem
                log.warning("directory of spam lists %s %s", directory, problem)
            return [path for path in self._seen if path.parent == directory]
        self.problems.pop(str(directory), None)
        return found

    def _take(self, path: Path) -> None:
        self._seen[path] = signature(path)
        try:
            self._lists[path] = read_list(path)
        except BadList as error:
            if path not in self._lists and not _is_named_as_list(path):
                log.warning("%s is not a spam list (%s) and is ignored", path, error)
                return
            self.problems[str(path)] = str(error)
            log.warning("spam list %s %s; what it listed before stays in use", path, error)
        else:
            self.problems.pop(str(path), None)
            log.info("spam list %s is in use", path)

    def _use(self) -> None:
        """Build both look-ups from all lists, with empty caches, and swap each in at once."""
        networks = [
            (network, f"{name} of {path.name}")
            for path, found in self._lists.items()
            for network, name in found.networks
        ]
        hosts = {host: path.name for path, found in self._lists.items() for host in found.hosts}
        if not hosts:
            hosts = dict.fromkeys(self._built_in.hosts, _BUILT_IN_NAME)
        self.find_network = _network_finder(networks)
        self.find_host = _host_finder(hosts)


def _is_named_as_list(path: Path) -> bool:
    return path.suffix.lower() in _LIST_SUFFIXES and path.stem.upper() not in _ABOUT


def _network_finder(networks: Sequence[tuple[Network, str]]) -> Find:
    table = Networks(networks)

    @lru_cache(maxsize=_CACHED_ADDRESSES)
    def find(text: str) -> str | None:
        address = parse_address(text)
        return table.find(address) if address else None

    return find


def _host_finder(hosts: Mapping[str, str]) -> Find:
    """Look a host and its parents up; a listed public suffix (`kharkov.ua`) lists itself, not everybody below it."""
    shared_by_many = {host for host in hosts if is_public_suffix(host)}

    @lru_cache(maxsize=_CACHED_HOSTS)
    def find(host: str) -> str | None:
        for name in (host, *parents(host)):
            if name in hosts and (name == host or name not in shared_by_many):
                return f"referrer {name} of {hosts[name]}"
        return None

    return find

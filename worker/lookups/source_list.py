"""Reading lists of search engines, social networks, AI assistants and webmail.

- The built-in list: a line a source, of kind, name and hosts, separated by tabs; see `sources.txt`.
- Matomo's (https://github.com/matomo-org/searchengine-and-social-list, in the public domain): YAML, names with lists of
  hosts, of search engines with lists of blocks that have `urls`; `{}` stands for a public suffix or a country.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from shared.hostnames import BadHostname, normalise

KINDS: Final = ("ai", "email", "search", "social")
#: A list longer than this is not what it says it is.
LARGEST_FILE_BYTES: Final = 4 << 20


class KnownSource(NamedTuple):
    """A source by name, and its kind, one of `KINDS`."""

    name: str
    kind: str


class SourceList(NamedTuple):
    """Sources by host (`google.*` for any public suffix), and by what campaigns call them, in lower case."""

    hosts: dict[str, KnownSource]
    names: dict[str, KnownSource]


class BadSourceList(Exception):
    """The file is not a list of sources; the text says what is wrong."""


def read_own(path: Path) -> SourceList:
    """Read the built-in list."""
    found = SourceList({}, {})
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        kind, name, entries = line.split("\t")
        source = KnownSource(name, kind)
        found.names.setdefault(name.lower(), source)
        for entry in entries.split():
            if entry.startswith("="):
                found.names.setdefault(entry[1:], source)
            else:
                found.hosts[entry] = source
    return found


def parse_matomo(content: bytes, kind: str) -> SourceList:
    """Parse one of Matomo's files, all of whose entries are of `kind`; raises `BadSourceList`."""
    try:
        entries = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise BadSourceList("is not YAML") from None
    if not isinstance(entries, dict) or not entries:
        raise BadSourceList("is not a list of sources by name")
    found = SourceList({}, {})
    for name, value in entries.items():
        source = KnownSource(str(name), kind)
        for url in _urls(value):
            if host := _host(url):
                found.hosts.setdefault(host, source)
        found.names.setdefault(source.name.lower(), source)
    if not found.hosts:
        raise BadSourceList("names no hosts")
    return found


def _urls(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else []:
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from (url for url in item.get("urls") or [] if isinstance(url, str))


def _host(url: str) -> str:
    """Return the host of an entry, empty for those with a path: `x.com/i/grok` is not what all of x.com is."""
    host = url.strip().removeprefix("{}.")
    suffix = ".*" if host.endswith(".{}") else ""
    try:
        return normalise(host.removesuffix(".{}")) + suffix if "/" not in host else ""
    except BadHostname:
        return ""

"""Reading spam lists.

- Spamhaus DROP (https://www.spamhaus.org/blocklists/do-not-route-or-peer/): JSON lines, each a network with the
  listing's id, and a closing record of type `metadata` with their number; the older plain text has
  `CIDR ; SBLid` lines and comments behind `;`.
- Matomo (https://github.com/matomo-org/referrer-spam-list): a host a line.

Operators' own files may mix the lines of the two plain formats; `#` starts a comment, at
the start of a line or after a space; a host lists what is below it, so that `*.host` is the same.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from shared.hostnames import BadHostname, normalise
from worker.lookups.networks import Network, parse_network

#: A list longer than this is not what it says it is.
LARGEST_FILE_BYTES: Final = 64 << 20
_COMMENT: Final = re.compile(r"\s#")


class SpamList(NamedTuple):
    """What one file lists: networks with the name that a drop shows, hosts in their normal form."""

    networks: tuple[tuple[Network, str], ...] = ()
    hosts: tuple[str, ...] = ()


class BadList(Exception):
    """The file is not a complete, valid spam list; the text says which line is wrong."""


def read_list(path: Path) -> SpamList:
    """Read the file at `path`; raises `BadList`."""
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise BadList(f"is larger than {LARGEST_FILE_BYTES >> 20} MiB")
        return parse_list(path.read_bytes())
    except OSError as error:
        raise BadList(f"can't be read: {error.strerror}") from None


def parse_list(content: bytes) -> SpamList:
    """Parse a list of either format; raises `BadList` for one that is empty or holds anything else."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadList("is not UTF-8 text") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and line[0] not in "#;"]
    if not lines:
        raise BadList("lists nothing")
    if lines[0][1].startswith("<"):
        raise BadList("is a web page, not a list")
    return _parse_records(lines) if lines[0][1].startswith("{") else _parse_plain(lines)


def _parse_records(lines: list[tuple[int, str]]) -> SpamList:
    *records, (_, closing) = ((number, _record(number, line)) for number, line in lines)
    if closing.get("type") != "metadata":
        raise BadList("ends without the closing metadata record; it is cut short")
    if closing.get("records", len(records)) != len(records):
        raise BadList(f"holds {len(records)} records where its metadata record says {closing['records']}")
    if not records:
        raise BadList("lists nothing")
    networks = []
    for number, record in records:
        network = _network(number, str(record.get("cidr", "")))
        networks.append((network, _named(network, str(record.get("sblid", "")))))
    return SpamList(networks=tuple(networks))


def _record(number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise BadList(f"line {number} is not JSON") from None
    if not isinstance(record, dict):
        raise BadList(f"line {number} is not a JSON object")
    return record


def _parse_plain(lines: list[tuple[int, str]]) -> SpamList:
    networks: list[tuple[Network, str]] = []
    hosts: list[str] = []
    for number, line in lines:
        entry, _, listing = _COMMENT.split(line, maxsplit=1)[0].partition(";")
        entry = entry.strip()
        if "/" in entry or ":" in entry or entry.replace(".", "").isdigit():
            network = _network(number, entry)
            networks.append((network, _named(network, listing.strip())))
        else:
            hosts.append(_host(number, entry))
    return SpamList(tuple(networks), tuple(hosts))


def _network(number: int, text: str) -> Network:
    try:
        network = parse_network(text)
    except ValueError as error:
        raise BadList(f"line {number} {error}") from None
    if network.prefixlen == 0:
        raise BadList(f"line {number} lists every address there is")
    return network


def _host(number: int, text: str) -> str:
    try:
        host = normalise(text.removeprefix("*."))
    except BadHostname as error:
        raise BadList(f"line {number} {error}") from None
    if "." not in host:
        raise BadList(f"line {number} lists a whole top-level domain")
    return host


def _named(network: Network, listing: str) -> str:
    return f"{network} ({listing})" if listing else str(network)

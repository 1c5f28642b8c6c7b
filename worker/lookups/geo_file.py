"""Opening a database in MaxMind DB format, and checking that it is valid.

The format (https://maxmind.github.io/MaxMind-DB/) has no checksum.  What is cheap is checked: the metadata at
the file's end (gone from a truncated file), the search tree's size against the file's, that sampled addresses from all
over the address space can be read, and that their records hold what the database is there for.
"""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from pathlib import Path
from typing import Final

import maxminddb
from maxminddb.reader import Reader

from worker.lookups.geo_records import Record, locate
from worker.lookups.watched import signature

#: What at least one sampled record must contain, or the database is of another kind.
_USEFUL: Final[Mapping[str, Callable[[Record], object]]] = {
    "city": lambda record: any(locate(record, {}, {})[:3]),
    "asn": lambda record: locate({}, record, {}).asn,
    "isp": lambda record: locate({}, {}, {name: record.get(name) for name in ("isp", "organization")}).provider,
}

_FIRST_NETWORKS: Final = 500
_FIRST_STEPS: Final = 10_000
_PROBES: Final = 2_000

#: What `maxminddb` raises on broken data.
BROKEN: Final = (maxminddb.InvalidDatabaseError, ValueError, TypeError, OSError, RecursionError, MemoryError)
_OF_THE_COPY: Final = re.compile(r" \(/dev/fd/\d+\)")
#: The end of the year 9999, where dates end.
_LATEST_S: Final = 253_402_300_800


class Database(Reader):
    """The reader in pure Python: on damaged data the one in C reads beyond its buffers and crashes the process.

    Finding the place of an address's record takes as long in either; decoding the record takes six times as long
    here, so the two can be done separately: many addresses have the same record.
    """

    def place(self, packed: bytes) -> int:
        """Return the position of an address's record (4 or 16 bytes), or 0 if it has none."""
        if len(packed) == 16 and self.metadata().ip_version == 4:
            return 0
        try:
            return self._find_address_in_tree(bytearray(packed))[0]
        except BROKEN:  # damage that the checks did not meet
            return 0

    def record(self, place: int) -> Record:
        """Return the record at a place, an empty one where none can be read."""
        if not place:
            return {}
        try:
            record = self._resolve_data_pointer(place)
        except BROKEN:
            return {}
        return record if isinstance(record, dict) else {}


class BadDatabase(Exception):
    """The file is not a valid database of the wanted kind; the text says what is wrong."""


def open_database(path: Path, kind: str, scratch: Path) -> Database:
    """Open and check the database at `path`; `kind` is `city`, `asn` or `isp`.

    What is read is a private, nameless copy in `scratch`: a file that is mapped into memory and then overwritten in
    place would end the process (SIGBUS).  The copy goes when the database does.  Raises `BadDatabase`.
    """
    try:
        database = _open_copy(path, scratch)
    except BROKEN as error:
        raise BadDatabase(f"can't be opened: {_OF_THE_COPY.sub('', str(error))}") from None
    try:
        _check_metadata(database)
        _check_records(database, kind)
    except BROKEN as error:
        raise BadDatabase(f"is damaged: {error}") from None
    return database


def _open_copy(path: Path, scratch: Path) -> Database:
    scratch.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise BadDatabase("is not a regular file")  # opening a pipe would block
    before = signature(path)
    with path.open("rb") as original, tempfile.TemporaryFile(dir=scratch) as copy:
        shutil.copyfileobj(original, copy, 1 << 20)
        if copy.tell() == 0:
            raise BadDatabase("is empty")
        if signature(path) != before:
            raise BadDatabase("was written to while it was read")  # half of it may be the old one's
        copy.flush()
        return Database(f"/dev/fd/{copy.fileno()}", maxminddb.MODE_MMAP)


def _check_metadata(database: Database) -> None:
    """Check what the reader does not check itself, which is only that the search tree fits the file."""
    metadata = database.metadata()
    built = metadata.build_epoch
    if metadata.ip_version not in (4, 6) or metadata.node_count < 1 or not 0 <= built < _LATEST_S:
        raise BadDatabase("has metadata that do not fit a database")


def _check_records(database: Database, kind: str) -> None:
    useful = False
    for record in _sample(database):
        if not isinstance(record, dict):
            raise BadDatabase("holds records that are not maps")
        useful = useful or bool(_USEFUL[kind](record))
    if not useful:
        what = database.metadata().database_type
        raise BadDatabase(
            f"is of type {what!r} and has none of the fields of a database of kind {kind}, by GeoIP2's names"
        )


def _sample(database: Database) -> Iterator[object]:
    yield from islice(_first_records(database), _FIRST_NETWORKS)
    for address in _probes(database.metadata().ip_version):
        record = database.get(address)
        if record is not None:
            yield record


def _first_records(database: Database) -> Iterator[object]:
    """Walk the networks, empty ones too, by look-ups: the reader's own iterator never ends in a tree with a loop."""
    make, bits = (IPv6Address, 128) if database.metadata().ip_version == 6 else (IPv4Address, 32)
    first = 0
    for _ in range(_FIRST_STEPS):
        record, prefix = database.get_with_prefix_len(make(first))
        if record is not None:
            yield record
        shift = bits - prefix
        first = (first >> shift) + 1 << shift
        if first >> bits:
            return


def _probes(ip_version: int) -> list[IPv4Address | IPv6Address]:
    """Return the same addresses each time, from all over the address space (of v6: of 2000::/3)."""
    chance = random.Random(20_150_517)
    probes: list[IPv4Address | IPv6Address] = [IPv4Address(chance.getrandbits(32)) for _ in range(_PROBES)]
    if ip_version == 6:
        probes += [IPv6Address((0x2000 << 112) + (chance.getrandbits(61) << 64)) for _ in range(_PROBES)]
    return probes

"""Opening a database in MaxMind DB format, and telling a sound one from any other file.

The format (https://maxmind.github.io/MaxMind-DB/) has no checksum.  What can be told cheaply is told: the metadata at
the file's end (gone from a truncated file), the search tree's size against the file's, that sampled addresses from all
over the address space can be read, and that their records hold what the database is there for.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

import maxminddb

from worker.lookups.geo_records import Record, locate
from worker.lookups.watched import signature

#: What at least one sampled record of a kind of database must tell, or it is one of another kind.
_TELLS: Final[Mapping[str, Callable[[Record], object]]] = {
    "city": lambda record: any(locate(record, {}, {})[:3]),
    "asn": lambda record: locate({}, record, {}).asn,
    "isp": lambda record: locate({}, {}, record).provider,
}

_FIRST_NETWORKS: Final = 500
_PROBES: Final = 4_000

#: What the C and the Python implementation raise on broken data.
BROKEN: Final = (maxminddb.InvalidDatabaseError, ValueError, OSError, RecursionError, MemoryError, OverflowError)


class BadDatabase(Exception):
    """The file is no sound database of the kind wanted; the text tells what is wrong."""


def open_database(path: Path, kind: str, scratch: Path) -> maxminddb.Reader:
    """Open and check the database at `path`; `kind` is `city`, `asn` or `isp`.

    What is read is a private, nameless copy in `scratch`: a file that is mapped into memory and then overwritten in
    place would end the process (SIGBUS).  No descriptor stays open, and the copy goes when the reader does.
    Raises `BadDatabase`.
    """
    try:
        reader = _open_copy(path, scratch)
    except BROKEN as error:
        raise BadDatabase(f"can't be opened: {error}") from None
    try:
        _check_tree(reader, path.stat().st_size)
        _check_records(reader, kind)
    except BadDatabase:
        raise
    except BROKEN as error:
        raise BadDatabase(f"is damaged: {error}") from None
    return reader


def _open_copy(path: Path, scratch: Path) -> maxminddb.Reader:
    scratch.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise BadDatabase("is no regular file")  # opening a pipe would wait for ever
    before = signature(path)
    with path.open("rb") as original, tempfile.TemporaryFile(dir=scratch) as copy:
        shutil.copyfileobj(original, copy, 1 << 20)
        if copy.tell() == 0:
            raise BadDatabase("is empty")
        if signature(path) != before:
            raise BadDatabase("was written to while it was read")  # half of it may be the old one's
        copy.flush()
        return maxminddb.open_database(f"/dev/fd/{copy.fileno()}")


def _check_tree(reader: maxminddb.Reader, size: int) -> None:
    metadata = reader.metadata()
    tree = metadata.node_count * metadata.record_size // 4
    if metadata.ip_version not in (4, 6) or metadata.node_count < 1 or tree + 16 > size:
        raise BadDatabase("has metadata that do not fit the file")


def _check_records(reader: maxminddb.Reader, kind: str) -> None:
    tells = False
    for record in _sample(reader):
        if not isinstance(record, dict):
            raise BadDatabase("holds records that are no maps")
        tells = tells or bool(_TELLS[kind](record))
    if not tells:
        what = reader.metadata().database_type
        raise BadDatabase(
            f"is of type {what!r} and tells nothing that a database of kind {kind} would, by GeoIP2's field names"
        )


def _sample(reader: maxminddb.Reader) -> Iterator[object]:
    for _, record in islice(reader, _FIRST_NETWORKS):
        yield record
    for address in _probes(reader.metadata().ip_version):
        record = reader.get(address)
        if record is not None:
            yield record


def _probes(ip_version: int) -> list[str]:
    """Return the same addresses each time, from all over the address space (of v6: of 2000::/3)."""
    chance = random.Random(20_150_517)
    probes = [".".join(str(byte) for byte in chance.randbytes(4)) for _ in range(_PROBES)]
    if ip_version == 6:
        for _ in range(_PROBES):
            groups = [0x2000 | chance.getrandbits(13), *(chance.getrandbits(16) for _ in range(3))]
            probes.append(":".join(f"{group:x}" for group in groups) + "::")
    return probes

"""Where an address is and whose, told by databases in MaxMind DB format with GeoIP2 field names, of any vendor.

Records are read raw: geoip2's models cost more than twice the look-up, and refuse fields that are not of MaxMind's
making.  Source of the field names: https://dev.maxmind.com/geoip/docs/databases/.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import maxminddb

from shared.metrics import LOOKUP_STALE
from worker.lookups.addresses import parse_address
from worker.lookups.geo_file import BROKEN, BadDatabase, Record, open_database
from worker.lookups.watched import Signature, signature
from worker.steps.lengths import PLACE

log = logging.getLogger(__name__)


class Location(NamedTuple):
    """Where and whose an address is: ISO 3166-1 code, English names; empty and 0 where nothing is known."""

    country: str
    region: str
    city: str
    provider: str
    asn: int
    asn_org: str


NOWHERE: Final = Location("", "", "", "", 0, "")
_EMPTY: Final[Record] = {}
_CACHED_ADDRESSES: Final = 65_536


class Geo:
    """The databases in use; `find` answers from them, `refresh` takes up new files.

    A file that is missing, damaged or of another kind is reported in `problems` (name of the database → what is
    wrong), and what was in use before stays so.
    """

    def __init__(self, paths: Mapping[str, Path], scratch: Path, optional: frozenset[str] = frozenset()) -> None:
        """Open the databases at `paths` (kind → file); `scratch` is a directory for private copies of them.

        Kinds in `optional` may be missing without that being a problem.
        """
        self._paths = dict(paths)
        self._optional = optional
        self._scratch = scratch
        self._seen: dict[str, Signature | None] = {}
        self._readers: dict[str, maxminddb.Reader] = {}
        self.problems: dict[str, str] = {}
        self.find: Callable[[str], Location] = _finder({})
        self.refresh()

    def refresh(self) -> None:
        """Take up databases that changed on disk; safe on another thread than `find`'s, raises nothing."""
        changed = False
        for kind, path in self._paths.items():
            now = signature(path)
            if kind in self._seen and now == self._seen[kind]:
                continue
            self._seen[kind] = now
            changed = self._take(kind, path, now) or changed
        if changed:  # at one stroke: databases, and an empty cache of what they say
            self.find = _finder(dict(self._readers))

    def describe(self) -> dict[str, str]:
        """Return type and build time (seconds since the epoch) of each database in use, for people."""
        known = {kind: reader.metadata() for kind, reader in self._readers.items()}
        return {kind: f"{data.database_type} built {data.build_epoch}" for kind, data in known.items()}

    def _take(self, kind: str, path: Path, now: Signature | None) -> bool:
        try:
            if now is None:
                if kind in self._optional and kind not in self._readers:
                    return False
                raise BadDatabase("is missing")
            self._readers[kind] = open_database(path, kind, self._scratch)
        except BadDatabase as error:
            self._report(kind, f"{path} {error}")
            return False
        self.problems.pop(kind, None)
        LOOKUP_STALE.labels(f"geo_{kind}").set(0)
        log.info("geo database %s: %s is in use", kind, path)
        return True

    def _report(self, kind: str, problem: str) -> None:
        self.problems[kind] = problem
        LOOKUP_STALE.labels(f"geo_{kind}").set(1)
        log.warning("geo database %s: %s; %s", kind, problem, "the old one stays" if kind in self._readers else "none")


def _finder(readers: Mapping[str, maxminddb.Reader]) -> Callable[[str], Location]:
    """Return a cached look-up over these databases; both go together when the next ones come."""
    city, asn, isp = (readers.get(kind) for kind in ("city", "asn", "isp"))

    @lru_cache(maxsize=_CACHED_ADDRESSES)
    def find(address: str) -> Location:
        parsed = parse_address(address)
        if parsed is None or not parsed.is_public:
            return NOWHERE
        return locate(*(_record(reader, parsed.text) for reader in (city, asn, isp)))

    return find


def _record(reader: maxminddb.Reader | None, address: str) -> Record:
    if reader is None:
        return _EMPTY
    try:
        record = reader.get(address)
    except BROKEN:  # an IPv6 address in an IPv4 database, or damage that the checks did not meet
        return _EMPTY
    return record if isinstance(record, dict) else _EMPTY


def locate(city: Record, asn: Record, isp: Record) -> Location:
    """Put together what the three databases' records for one address say.

    Country: where the address is used, else where its network is registered.  Enterprise databases carry the
    network's owner in `traits`; it counts where no database of its own says more.
    """
    traits = _map(city, "traits")
    subdivisions = city.get("subdivisions")
    first = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
    asn_org = _first_text("autonomous_system_organization", asn, isp, traits)
    provider = _first_text("isp", isp, traits) or _first_text("organization", isp, traits) or asn_org
    return Location(
        _text(_map(city, "country"), "iso_code") or _text(_map(city, "registered_country"), "iso_code"),
        _text(_map(first, "names"), "en"),
        _text(_map(_map(city, "city"), "names"), "en"),
        provider,
        _number(asn) or _number(isp) or _number(traits),
        asn_org,
    )


def _map(record: object, key: str) -> Record:
    value: Any = record.get(key) if isinstance(record, dict) else None
    return value if isinstance(value, dict) else _EMPTY


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    return sys.intern(value[:PLACE]) if isinstance(value, str) else ""


def _first_text(key: str, *records: Record) -> str:
    return next(filter(None, (_text(record, key) for record in records)), "")


def _number(record: Record) -> int:
    value = record.get("autonomous_system_number")
    return value if isinstance(value, int) and 0 < value < 1 << 32 else 0

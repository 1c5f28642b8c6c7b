"""Where an address is and whose network it is in, from databases in MaxMind DB format with GeoIP2 field names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from shared.metrics import LOOKUP_STALE, LOOKUP_UPDATED
from worker.lookups.addresses import parse_address
from worker.lookups.geo_file import BadDatabase, Database, open_database
from worker.lookups.geo_records import NOWHERE, Location, locate
from worker.lookups.watched import Signature, signature

log = logging.getLogger(__name__)

_CACHED_ADDRESSES: Final = 65_536
#: Many addresses have the same records, and reading records takes the longest.
_CACHED_PLACES: Final = 65_536


class Geo:
    """The databases in use; `find` answers from them, `refresh` picks up new files.

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
        self._databases: dict[str, Database] = {}
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
        if changed:  # replaced together: the databases and an empty cache of their answers
            self.find = _finder(dict(self._databases))

    def describe(self) -> dict[str, str]:
        """Return type and build time (seconds since the epoch) of each database in use, for people."""
        known = {kind: database.metadata() for kind, database in self._databases.items()}
        return {kind: f"{data.database_type} built {data.build_epoch}" for kind, data in known.items()}

    def _take(self, kind: str, path: Path, now: Signature | None) -> bool:
        try:
            if now is None:
                if kind in self._optional and kind not in self._databases:
                    return False
                raise BadDatabase("is missing")
            self._databases[kind] = open_database(path, kind, self._scratch)
        except BadDatabase as error:
            self._report(kind, f"{path} {error}")
            return False
        self.problems.pop(kind, None)
        LOOKUP_STALE.labels(f"geo_{kind}").set(0)
        LOOKUP_UPDATED.labels(f"geo_{kind}").set(self._databases[kind].metadata().build_epoch)
        log.info("geo database %s: %s is in use", kind, path)
        return True

    def _report(self, kind: str, problem: str) -> None:
        self.problems[kind] = problem
        LOOKUP_STALE.labels(f"geo_{kind}").set(1)
        log.warning(
            "geo database %s: %s; %s", kind, problem, "the old one stays" if kind in self._databases else "none"
        )


def _finder(databases: Mapping[str, Database]) -> Callable[[str], Location]:
    """Return a cached look-up over these databases; both go together when the next ones come."""
    asked = [databases.get(kind) for kind in ("city", "asn", "isp")]

    @lru_cache(maxsize=_CACHED_ADDRESSES)
    def find(address: str) -> Location:
        parsed = parse_address(address)
        if parsed is None or not parsed.is_public:
            return NOWHERE
        packed = parsed.value.to_bytes(parsed.bits // 8, "big")
        return located(*(database.place(packed) if database else 0 for database in asked))

    @lru_cache(maxsize=_CACHED_PLACES)
    def located(*places: int) -> Location:
        records = [database.record(place) if database else {} for database, place in zip(asked, places, strict=True)]
        return locate(*records)

    return find

"""Updating the geo databases in the directory that workers watch: each from the first source that has it.

A new database is downloaded next to the old one, checked, and then replaces it atomically; until then, and whenever no
source has one, the old one stays.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from shared.download import DownloadError, UnreachableHostError
from worker.lookups.geo_file import BadDatabase, open_database
from worker.lookups.updates.geo_sources import Source

KINDS: Final = ("city", "asn")
_OLD_DAYS: Final = 90

#: Takes a line for people.
Report = Callable[[str], None]


def update_databases(
    sources: Sequence[Source], directory: Path, report: Report, warn: Report, kinds: Sequence[str] = KINDS
) -> list[str]:
    """Update each of these kinds of database in `directory`; returns the kinds that no source has.

    `report` is called with the state of each database, `warn` with the reason a source was skipped.  Raises `OSError`
    if the directory can't be written.
    """
    missing = list(kinds)
    for source in sources:
        for kind in [kind for kind in source.kinds if kind in missing]:
            try:
                report(_update(source, kind, directory))
            except UnreachableHostError as error:
                warn(f"{source.name}: {error}")
                break  # its other files can't be reached either, and each attempt takes seconds
            except (DownloadError, BadDatabase) as error:
                warn(f"{source.name}, {kind}: {error}")
            else:
                missing.remove(kind)
    return missing


def problem_with(path: Path, kind: str) -> str | None:
    """Return why the database at `path` can't be used, or None if it can."""
    if not path.exists():
        return "is missing"
    try:
        open_database(path, kind, path.parent)
    except BadDatabase as error:
        return str(error)
    return None


def _update(source: Source, kind: str, directory: Path) -> str:
    """Replace one database; returns a line on what it now is."""
    descriptor, name = tempfile.mkstemp(prefix=f".{kind}-", suffix=".part", dir=directory)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            origin = source.get(kind, file)
            file.flush()
            os.fsync(file.fileno())
        metadata = open_database(path, kind, directory).metadata()
        target = directory / f"{kind}.mmdb"
        if source.is_last_resort and metadata.build_epoch < _built_at(target, kind):
            return f"{kind}: keeping {target}, which is newer than the one from {source.name} ({origin})"
        path.chmod(0o644)
        size_mib = path.stat().st_size / (1 << 20)
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)
    built = datetime.fromtimestamp(metadata.build_epoch, UTC).date()
    note = _age_note(built, datetime.now(UTC).date())
    return (
        f"{kind}: {target} is now {metadata.database_type} built {built}{note}, {size_mib:.1f} MiB,"
        f" from {source.name} ({origin})"
    )


def _built_at(path: Path, kind: str) -> int:
    """Return when the database at `path` was built, in seconds since the epoch; 0 without a usable one."""
    try:
        return open_database(path, kind, path.parent).metadata().build_epoch
    except BadDatabase:
        return 0


def _age_note(built: date, today: date) -> str:
    days = (today - built).days
    return (
        f" ({days} days old: run `hitline geo update` where a newer one can be downloaded)" if days > _OLD_DAYS else ""
    )

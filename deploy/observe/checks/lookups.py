"""Geo databases and spam lists: missing, damaged or old."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from deploy.observe.context import Context
from deploy.observe.finding import Finding, error, warning
from worker.lookups.geo_file import BadDatabase, open_database
from worker.lookups.spam_files import BadList, parse_list
from worker.settings import WorkerSettings

_PART: Final = "lookups"
_DAY_S: Final = 86_400
#: As in deploy/observability/alerts.yml.
_OLD_GEO_DAYS: Final = 90
_OLD_LIST_DAYS: Final = 7
_EMPTY: Final = {"city": "country, region and city", "asn": "provider, asn and asn_org", "isp": "provider"}


async def check(context: Context) -> AsyncIterator[Finding]:
    """Yield what is wrong with the files that a worker on this machine uses."""
    if context.worker:
        for finding in (*_geo(context.worker), *_lists(context.worker)):
            yield finding


def _geo(settings: WorkerSettings) -> Iterator[Finding]:
    named = {"city": settings.geo_city_db, "asn": settings.geo_asn_db, "isp": settings.geo_isp_db}
    paths = {"city": settings.city_path, "asn": settings.asn_path, "isp": settings.isp_path}
    for kind, path in paths.items():
        cure = f"correct HITLINE_GEO_{kind.upper()}_DB" if named[kind] else "run `hitline geo update`"
        if not path.exists():
            if named[kind]:
                yield error(_PART, f"the geo database {path} does not exist", cure)
            elif kind != "isp":  # no free one is published
                yield warning(_PART, f"there is no {kind} database: {_EMPTY[kind]} stay empty", cure)
            continue
        yield from _database(kind, path, cure)


def _database(kind: str, path: Path, cure: str) -> Iterator[Finding]:
    try:
        database = open_database(path, kind, Path(tempfile.gettempdir()))
    except BadDatabase as failure:
        yield error(_PART, f"the geo database {path} {failure}", cure)
        return
    try:
        days = (time.time() - database.metadata().build_epoch) / _DAY_S
    finally:
        database.close()
    if days > _OLD_GEO_DAYS:
        yield warning(_PART, f"the geo database {path} was built {days:,.0f} days ago", cure)


def _lists(settings: WorkerSettings) -> Iterator[Finding]:
    if settings.spam_dir and not settings.spam_dir.is_dir():
        yield error(_PART, f"HITLINE_SPAM_DIR: {settings.spam_dir} is not a directory", "correct or remove it")
    downloaded = sorted(settings.feeds_path.glob("*.*")) if settings.feeds_path.is_dir() else []
    if not downloaded:
        problem = "no spam lists were downloaded: only the built-in list is used"
        yield warning(_PART, problem, "run `hitline feeds update` daily, or set HITLINE_FEEDS_HOURS")
    for path in downloaded:
        yield from _list(path)


def _list(path: Path) -> Iterator[Finding]:
    cure = "run `hitline feeds update`"
    try:
        parse_list(path.read_bytes())
    except (BadList, OSError) as failure:
        yield error(_PART, f"the spam list {path} {failure}", cure)
        return
    days = (time.time() - path.stat().st_mtime) / _DAY_S
    if days > _OLD_LIST_DAYS:
        yield warning(_PART, f"the spam list {path} is {days:,.0f} days old", f"{cure} daily")

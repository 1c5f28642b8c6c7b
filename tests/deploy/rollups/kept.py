"""The parts of sessions on several days that rollups keep for reports, compared with a count in Python."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from datetime import date, timedelta
from typing import Any

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import services
from tests.deploy.rollups import visits
from tests.deploy.rollups.visits import Row, Stored

_COLUMNS = (
    "site_id, toString(day) AS on_day, session_id, is_bot, toUInt32(pageviews) AS n, toString(began) AS since,"
    " milliseconds, toString(entry_page) AS entry, toString(exit_page) AS exit,"
    " arraySort(arrayMap(hash -> toString(hash), `values`)) AS hashes"
)
_OTHERWISE = (
    "SELECT * FROM hitline.several_days_raw AS kept FINAL WHERE pageviews > 0 AND"
    " (site_id, day, session_id, is_bot, fingerprint) NOT IN"
    " (SELECT site_id, day, session_id, is_bot, fingerprint FROM hitline.session_days_raw FINAL)"
)
Pair = tuple[str, str]
Parts = dict[tuple[Any, ...], tuple[Any, ...]]


def check(clickhouse: ClickHouseProcess, stored: Stored, zones: dict[uuid.UUID, str]) -> None:
    """All parts of sessions on two days in a row are kept, and whatever is kept is what the part is."""
    parts = counted(clickhouse, stored, zones)
    found: Parts = {}
    for row in services.rows(clickhouse, f"SELECT {_COLUMNS} FROM hitline.several_days_raw FINAL WHERE pageviews > 0"):
        site, day, session, bot, n, since, milliseconds, *hashes = row.values()
        found[site, day, session, bot] = int(n), since, int(milliseconds), *hashes
    for key, part in found.items():
        assert parts[key] == part
    assert missing(parts, found) == []
    assert services.rows(clickhouse, _OTHERWISE) == [], "a report would look them up"


def missing(parts: Parts, found: Parts) -> list[tuple[Any, ...]]:
    """Return the parts whose session is on a day next to theirs as well, and which are not kept."""
    days: dict[tuple[str, str], set[str]] = defaultdict(set)
    for site, day, session, _ in parts:
        days[site, session].add(day)
    return [
        (site, day, session, bot)
        for site, day, session, bot in parts.keys() - found.keys()
        if days[site, session] & {str(date.fromisoformat(day) + timedelta(shift)) for shift in (-1, 1)}
    ]


def counted(clickhouse: ClickHouseProcess, stored: Stored, zones: dict[uuid.UUID, str]) -> Parts:
    """Count all parts of sessions, by site, day, session and whether a bot's."""
    rows: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in stored.values():
        rows[row["site_id"], visits.local_day(row, zones), row["session_id"], row["is_bot"]].append(row)
    pairs = {pair for row in stored.values() for pair in _pairs(row)}
    hashes = hashed(clickhouse, pairs)
    return {key: _part(some, hashes) for key, some in rows.items()}


def hashed(clickhouse: ClickHouseProcess, pairs: set[Pair]) -> dict[Pair, str]:
    """Return ClickHouse's hashes of dimensions with their values."""
    lines = "\n".join(json.dumps({"name": name, "value": value}) for name, value in pairs)
    sql = "SELECT name, value, toString(cityHash64(name, value)) AS hash FROM format(JSONEachRow, $$%s$$)"
    found = services.rows(clickhouse, sql % lines) if pairs else []
    return {(row["name"], row["value"]): row["hash"] for row in found}


def _pairs(row: Row) -> set[Pair]:
    return {*_values(row), ("entry_page", row["path"]), ("exit_page", row["path"])}


def _values(row: Row) -> set[Pair]:
    return {pair for pair in visits.values(row).items() if pair[1] or pair[0] == "path"}


def _part(rows: list[Row], hashes: dict[Pair, str]) -> tuple[Any, ...]:
    rows = sorted(rows, key=lambda row: (row["timestamp"], uuid.UUID(row["page_id"]).int))
    first, last = rows[0], rows[-1]
    values = {pair for row in rows for pair in _values(row)}
    milliseconds = (visits.at(last) - visits.at(first)) // timedelta(milliseconds=1)
    pages = hashes["entry_page", first["path"]], hashes["exit_page", last["path"]]
    return len(rows), first["timestamp"], milliseconds, *pages, sorted(hashes[pair] for pair in values)

"""Pageviews made in Python, and what rollups of them must be, counted without ClickHouse."""

from __future__ import annotations

import json
import random
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts

#: Half an hour and a quarter off, a summer time of thirty minutes, and both ends of the world.
ZONES = (
    "UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York",
    "Pacific/Kiritimati", "Pacific/Pago_Pago",
)  # fmt: skip
SITES = {uuid.UUID(int=0xA000 + number): zone for number, zone in enumerate(ZONES)}
#: Two of them: half an hour off, and a summer time of thirty minutes.
FEW = dict(list(SITES.items())[2:5:2])
#: Enough where time zones are not the matter: a run computes each zone by some fifteen statements.
PAIR = {next(iter(FEW)): "Asia/Kolkata", uuid.UUID(int=0xA000 + len(ZONES)): "Asia/Kolkata"}
ZONE_OF = {**SITES, **PAIR}
CHANGES_OF_CLOCKS, WITHIN_A_MONTH = datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC)
#: Where a pageview's identity is (design, section 2).
IDENTITY = ("site_id", "timestamp", "session_id", "page_id")
SAME_NAME = (
    "hostname", "path", "source", "channel", "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content",
    "country", "language", "device", "bot_kind", "browser", "os", "provider",
)  # fmt: skip

#: Those of a derived session's id that say when it begins, and that are zero in its visitor's.
_LAST_BITS = (1 << 28) - 1

Row = dict[str, Any]
Stored = dict[tuple[Any, ...], Row]


def register(clickhouse: ClickHouseProcess, sites: dict[uuid.UUID, str] = SITES, version: int = 1) -> None:
    rows = [
        {"site_id": str(site), "name": f"{site.hex[-4:]}.example", "hostnames": [], "timezone": zone,
         "version": version, "created_at": "2026-01-01 00:00:00"}
        for site, zone in sites.items()
    ]  # fmt: skip
    insert(clickhouse, rows, "hitline_control.sites")


def make(
    number: int,
    seed: int,
    first: datetime | None = None,
    days: int = 12,
    sites: Collection[uuid.UUID] = SITES,
) -> list[Row]:
    """Make pageviews in sessions; `first`: by default days that hold Berlin's and Lord Howe's change of summer time.

    Of `PAIR` they are days of one month: each more is a partition, and erasing takes statements for each.
    """
    first = first or (WITHIN_A_MONTH if set(sites) <= set(PAIR) else CHANGES_OF_CLOCKS)
    chance = random.Random(seed)
    rows: list[Row] = []
    while len(rows) < number:
        site = chance.choice(list(sites))
        session = uuid.UUID(int=chance.getrandbits(128))
        at = first + timedelta(milliseconds=chance.randrange(days * 86_400_000))
        source = chance.choice(("", "news", "ads"))
        country = chance.choice(("DE", "IN", ""))
        agent = chance.randrange(3)
        for _ in range(chance.choice((1, 1, 2, 5, 9))):
            rows.append(
                {
                    "site_id": str(site), "hostname": f"{site.hex[-4:]}.example", "timestamp": stamp(at),
                    "received_at": stamp(at), "session_id": str(session),
                    "page_id": str(uuid.UUID(int=chance.getrandbits(128))),
                    "path": chance.choice(("/", "/a", "/b/ü", "/it's\\here")), "query": "",
                    "referrer": "", "referrer_host": chance.choice(("", "a.example", f"{site.hex[-4:]}.example")),
                    "source": source or "a.example", "channel": "campaign" if source else "referral",
                    "utm_source": source, "utm_campaign": source and f"{source} 1", "country": country,
                    "region": country and f"{country}-1", "city": chance.choice(("", "Town")) if country else "",
                    "device": ("desktop", "mobile", "bot")[agent], "browser": f"Browser {agent}", "os": f"OS {agent}",
                    "is_bot": agent == 2, "bot_kind": ("", "", "search")[agent],
                    "language": chance.choice(("en", "de")), "provider": "Net",
                    "batch_id": str(uuid.UUID(int=chance.getrandbits(128))), "position": 0,
                }
            )  # fmt: skip
            at += timedelta(milliseconds=chance.randrange(3_600_000))
    return rows


def derive(rows: Iterable[Row], seed: int) -> list[Row]:
    """Return the rows as of visitors instead of sessions: each with a session of its own, as gateways make them up."""
    chance = random.Random(seed)
    visitors: dict[tuple[str, ...], str] = {}
    found = []
    for row in rows:
        visitor = (row["site_id"], row["session_id"], row["timestamp"][:10])
        number = chance.getrandbits(128) & ~_LAST_BITS & ~(0xF << 76) & ~(3 << 62) | 8 << 76 | 2 << 62
        visitors.setdefault(visitor, str(uuid.UUID(int=number)))
        own = str(uuid.UUID(int=chance.getrandbits(128)))
        found.append({**row, "session_id": own, "visitor_id": visitors[visitor]})
    return found


def shown(stored: Stored) -> Stored:
    """Return what `pageviews` shows: with the sessions of visitors, which end after 30 minutes without a pageview."""
    found = dict(stored)
    last: dict[tuple[str, str], tuple[datetime, str]] = {}
    for key, row in sorted(stored.items(), key=lambda item: item[1]["timestamp"]):
        if "visitor_id" not in row:
            continue
        visitor, now = (row["site_id"], row["visitor_id"]), at(row)
        seen, session = last.get(visitor, (datetime.min.replace(tzinfo=UTC), ""))
        if now - seen > timedelta(minutes=30):
            millisecond = (now - now.replace(hour=0, minute=0, second=0, microsecond=0)) // timedelta(milliseconds=1)
            session = str(uuid.UUID(int=uuid.UUID(row["visitor_id"]).int + millisecond))
        last[visitor] = now, session
        found[key] = {**row, "session_id": session}
    return found


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03}"


def insert(clickhouse: ClickHouseProcess, rows: Iterable[Row], table: str = "hitline.pageviews_raw") -> None:
    lines = "\n".join(json.dumps(row) for row in rows)
    parts.execute(clickhouse, f"INSERT INTO {table} SETTINGS async_insert = 0 FORMAT JSONEachRow\n{lines}")


def store(stored: Stored, rows: Iterable[Row]) -> None:
    """Keep what `pageviews` must keep: one row an identity, the last that was stored."""
    for row in rows:
        stored[tuple(row[name] for name in IDENTITY)] = row


def at(row: Row) -> datetime:
    return datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)


def local_day(row: Row, zones: dict[uuid.UUID, str]) -> str:
    return str(at(row).astimezone(ZoneInfo(zones[uuid.UUID(row["site_id"])])).date())


def local_hour(row: Row, zones: dict[uuid.UUID, str]) -> str:
    """Return the instant at which the pageview's hour of the site's clock began, in UTC."""
    local = at(row).astimezone(ZoneInfo(zones[uuid.UUID(row["site_id"])]))
    return (at(row) - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)).strftime(
        "%Y-%m-%d %H:%M:%S"
    )


def values(row: Row) -> dict[str, str]:
    """Return the value of every dimension that a pageview has."""
    found = {name: row.get(name, "") for name in SAME_NAME}
    found["referrer_host"] = "" if row["referrer_host"] == row["hostname"] else row["referrer_host"]
    found["region"] = row["region"] and f"{row['country']}/{row['region']}"
    found["city"] = row["city"] and f"{row['country']}/{row['region']}/{row['city']}"
    return found


def longest_parts(stored: Stored, zones: dict[uuid.UUID, str] = ZONE_OF) -> list[int]:
    """Return the numbers of pageviews of sessions on a day, the largest first."""
    parts = Counter((row["session_id"], local_day(row, zones), row["is_bot"]) for row in stored.values())
    return sorted(parts.values(), reverse=True)


#: Key of a rollup's row → pageviews, sessions, bounces, milliseconds.
Rollup = dict[tuple[Any, ...], tuple[int, ...]]


def daily(stored: Stored, zones: dict[uuid.UUID, str] = ZONE_OF) -> Rollup:
    """Count what `hitline.daily` must hold."""
    views: Counter[tuple[Any, ...]] = Counter()
    sessions: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    visits: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in stored.values():
        key = (row["site_id"], local_day(row, zones), row["is_bot"])
        visits[*key, row["session_id"]].append(row)
        for dimension, value in values(row).items():
            views[*key, dimension, value] += 1
            sessions[*key, dimension, value].add(row["session_id"])
    found: Rollup = {key: (number, len(sessions[key]), 0, 0) for key, number in views.items()}
    for (site, day, bot, _), rows in visits.items():
        rows.sort(key=lambda row: (row["timestamp"], uuid.UUID(row["page_id"]).int))
        milliseconds = (at(rows[-1]) - at(rows[0])) // timedelta(milliseconds=1)
        for dimension, value in (("", ""), ("entry_page", rows[0]["path"]), ("exit_page", rows[-1]["path"])):
            place = (site, day, bot, dimension, value)
            one = (len(rows), 1, int(len(rows) == 1), milliseconds)
            found[place] = tuple(map(sum, zip(found.get(place, (0, 0, 0, 0)), one, strict=True)))
    return found


def hourly(stored: Stored, zones: dict[uuid.UUID, str] = ZONE_OF) -> Rollup:
    """Count what `hitline.hourly` must hold."""
    dimensions = ("path", "referrer_host", "utm_source", "utm_campaign", "country", "device")
    return _count(
        stored,
        lambda row: [
            (row["site_id"], local_day(row, zones), local_hour(row, zones), row["is_bot"], dimension, value)
            for dimension, value in (("", ""), *((name, values(row)[name]) for name in dimensions))
        ],
    )


def _count(stored: Stored, keys: Callable[[Row], list[tuple[Any, ...]]]) -> Rollup:
    views: Counter[tuple[Any, ...]] = Counter()
    sessions: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for row in stored.values():
        for key in keys(row):
            views[key] += 1
            sessions[key].add(row["session_id"])
    return {key: (number, len(sessions[key])) for key, number in views.items()}

"""ClickHouse: version, schema, grants, clock, disk, and what is stuck in it."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from deploy.observe.checks import replicas
from deploy.observe.context import Context
from deploy.observe.finding import Finding, error, unknown, warning
from deploy.schema import migrations
from deploy.schema.migrations import MigrationError
from shared.clickhouse import ClickHouse
from shared.clickhouse_address import BadAddress
from shared.clickhouse_errors import explain, failure_of
from worker.row import COLUMN_TYPES, COLUMNS

_PART: Final = "clickhouse"
_OLDEST: Final = (24, 8)
_CLOCK_S: Final = 5.0
_FREE_PART: Final = 0.1
#: ClickHouse slows inserts down from 1,000 parts of a partition on, and refuses them from 3,000 on.
_MANY_PARTS: Final = 700
_SLOW_MUTATION_S: Final = 3_600
_READ_SECONDS: Final = 20.0
#: A line of access/roles.sql: what a process needs.
_GRANT: Final = re.compile(r"^GRANT (.+ ON (?!system\.).+) TO hitline_(worker|gateway);$", re.MULTILINE)
#: Settings of tables that exactly-once depends on.
_TABLE_SETTINGS: Final = {
    "pageviews_raw": {"non_replicated_deduplication_window": 1_000, "fsync_after_insert": 1, "fsync_part_directory": 1},
    "outcomes_raw": {"fsync_after_insert": 1, "fsync_part_directory": 1},
}
_MIGRATE: Final = "run `hitline migrate`"
_OBJECT: Final = re.compile(
    r"(CREATE|DROP)\s+(?:OR\s+REPLACE\s+)?(?:TABLE|VIEW)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(hitline(?:_control)?\.\w+)",
    re.I,
)


async def check(context: Context) -> AsyncIterator[Finding]:
    """Yield what is wrong with ClickHouse, as the user of HITLINE_CLICKHOUSE_URL sees it."""
    if context.common is None:
        return
    try:
        clickhouse = ClickHouse(
            context.common.clickhouse_url,
            "hitline doctor",
            read_s=_READ_SECONDS,
            cluster=context.common.clickhouse_cluster,
        )
    except BadAddress:  # the check of settings says so
        return
    try:
        began = time.time()
        version, now = (await clickhouse.query("SELECT version(), toFloat64(now64(3))")).result_rows[0]
        for finding in (*_version(version), *_clock(now, began, time.time())):
            yield finding
        for look in (
            _schema,
            _table_settings,
            replicas.look,
            _columns,
            _grants,
            _running_queries,
            _hidden_rows,
            _disk,
            _parts,
            _mutations,
            _empty,
        ):
            async for finding in _tolerant(clickhouse, look):
                yield finding
    except Exception as failure:
        if failure_of(failure) is None:
            raise
        yield error(_PART, explain(failure, clickhouse.address), "workers wait and gateways use their copy until then")
    finally:
        await clickhouse.close()


async def _tolerant(clickhouse: ClickHouse, look: Any) -> AsyncIterator[Finding]:
    """Yield what a look finds; one that this user may not take is passed over."""
    try:
        async for finding in look(clickhouse):
            yield finding
    except Exception as failure:
        found = failure_of(failure)
        if found is None or not (found.denied or found.no_schema):
            raise
        if found.denied:
            what = look.__name__.strip("_").replace("_", " ")
            yield unknown(_PART, f"this user may not look at: {what}", "run it with an administrator's URL to see it")


def _version(text: str) -> Iterator[Finding]:
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST:
        yield error(_PART, f"ClickHouse {text} is older than 24.8", "upgrade it")


def _clock(now_s: float, began_s: float, ended_s: float) -> Iterator[Finding]:
    ahead_s = now_s - ended_s if now_s > ended_s else min(0.0, now_s - began_s)
    if abs(ahead_s) > _CLOCK_S:
        problem = f"ClickHouse's clock is {ahead_s:+,.0f} s from this machine's: retention refuses to run"
        yield error(_PART, problem, "synchronise the clocks of both (NTP); see docs/life-cycle.md")


async def _schema(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    files = migrations.read()
    records = await migrations.applied(clickhouse)
    for name in migrations.unknown(files, records):
        problem = f"{name} was applied by a newer version of Hitline"
        yield warning(_PART, problem, "upgrade this one; see docs/operations/upgrade.md for the order")
    try:
        left = migrations.pending(files, records)
    except MigrationError as failure:
        yield error(_PART, str(failure), "compare with the file of the release that applied it")
        return
    if left:
        yield error(_PART, f"migrations are not applied: {', '.join(file.name for file in left)}", _MIGRATE)
    there = await _names(clickhouse)
    applied = [file for file in files if file.number in records]
    for name in sorted(_expected(applied) - there):
        cure = "restore it from a backup, or make it again, empty: `hitline migrate --repair`"
        yield error(_PART, f"{name} is missing, though its migration was applied", cure)


def _expected(applied: list[migrations.Migration]) -> set[str]:
    names: set[str] = set()
    for statement in (statement for file in applied for statement in file.statements):
        if found := _OBJECT.match(statement):
            (names.add if found[1].upper() == "CREATE" else names.discard)(found[2])
    return names


async def _names(clickhouse: ClickHouse) -> set[str]:
    sql = "SELECT database || '.' || name FROM system.tables WHERE database IN ('hitline', 'hitline_control')"
    return {name for (name,) in (await clickhouse.query(sql)).result_rows}


async def _table_settings(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    sql = "SELECT name, engine_full FROM system.tables WHERE database = 'hitline' AND name IN {names:Array(String)}"
    for table, engine in (await clickhouse.query(sql, {"names": list(_TABLE_SETTINGS)})).result_rows:
        for setting, least in _TABLE_SETTINGS[table].items():
            found = re.search(rf"\b{setting} = (\d+)", engine)
            if "Replicated" not in engine and (found is None or int(found[1]) < least):
                value = found[1] if found else "not set"
                problem = f"{setting} of hitline.{table} is {value}: after a crash, rows may be lost or stored twice"
                yield error(_PART, problem, f"ALTER TABLE hitline.{table} MODIFY SETTING {setting} = {least}")


async def _columns(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    sql = "SELECT name, type, default_kind FROM system.columns WHERE database = 'hitline' AND table = 'pageviews_raw'"
    there = {name: (kind, default) for name, kind, default in (await clickhouse.query(sql)).result_rows}
    if not there:
        return
    for name, kind in zip(COLUMNS, COLUMN_TYPES, strict=True):
        if name not in there:
            yield error(_PART, f"hitline.pageviews_raw has no column {name}: every insert is refused", _MIGRATE)
        elif there[name][0] != kind:
            problem = f"the column {name} of hitline.pageviews_raw is {there[name][0]} instead of {kind}"
            yield error(_PART, problem, f"ALTER TABLE hitline.pageviews_raw MODIFY COLUMN {name} {kind}")


async def _grants(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    needed: dict[str, list[str]] = {}
    for grant, process in _GRANT.findall((migrations.DIRECTORY / "access" / "roles.sql").read_text("utf-8")):
        needed.setdefault(process, []).append(grant)
    for process, grants in needed.items():
        missing = [grant for grant in grants if str(await clickhouse.command(f"CHECK GRANT {grant}")) != "1"]
        if missing:
            problem = f"the user of HITLINE_CLICKHOUSE_URL lacks what a {process} needs: {'; '.join(missing)}"
            yield warning(
                _PART, problem, f"if it is a {process}'s, give it the role hitline_{process} (access/roles.sql)"
            )


async def _running_queries(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    try:
        await clickhouse.query("SELECT 1 FROM system.processes LIMIT 1")
    except Exception as failure:
        found = failure_of(failure)
        if found is None or not found.denied:
            raise
        problem = "the user of HITLINE_CLICKHOUSE_URL may not read system.processes, which a worker's look-ups wait by"
        yield warning(_PART, problem, "if it is a worker's, give it the role hitline_worker (access/roles.sql)")


async def _hidden_rows(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    sql = "SELECT total_rows FROM system.tables WHERE database = 'hitline' AND name = 'pageviews_raw'"
    rows = (await clickhouse.query(sql)).result_rows
    if not rows or not rows[0][0]:
        return
    if not (await clickhouse.query("SELECT site_id FROM hitline.pageviews_raw LIMIT 1")).result_rows:
        problem = "a row policy hides all pageviews from this user: a worker would store redelivered ones twice"
        yield error(_PART, problem, "name the user's role in the policy hitline_everyone (access/tenant.sql)")


async def _disk(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    for name, free, total in (
        await clickhouse.query("SELECT name, free_space, total_space FROM system.disks WHERE total_space > 0")
    ).result_rows:
        if free < total * _FREE_PART:
            problem = f"{free >> 30} of {total >> 30} GiB are free on ClickHouse's disk {name}"
            yield warning(
                _PART, problem, "make room, or shorten the retention; merges need as much as the largest part"
            )


async def _parts(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    sql = (
        "SELECT table, partition, count() FROM system.parts WHERE database = 'hitline' AND active"
        " GROUP BY table, partition HAVING count() > {many:UInt32} ORDER BY count() DESC LIMIT 3"
    )
    for table, partition, count in (await clickhouse.query(sql, {"many": _MANY_PARTS})).result_rows:
        problem = f"partition {partition} of hitline.{table} has {count:,} parts: merges do not keep up"
        yield warning(_PART, problem, "look at system.merges and the disk; fewer workers make larger inserts")


async def _mutations(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    sql = (
        "SELECT table, latest_fail_reason, dateDiff('second', create_time, now()) FROM system.mutations"
        " WHERE database IN ('hitline', 'hitline_control') AND NOT is_done"
        " AND (latest_fail_reason != '' OR create_time < now() - {slow:UInt32}) ORDER BY create_time LIMIT 3"
    )
    for table, reason, seconds in (await clickhouse.query(sql, {"slow": _SLOW_MUTATION_S})).result_rows:
        problem = f"an erasure in {table} is not done after {seconds:,} s{': it fails' if reason else ''}"
        yield error(_PART, problem, "see latest_fail_reason in system.mutations")


async def _empty(clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    for table, what in (("sites", "site"), ("clients", "client")):
        if not (await clickhouse.query(f"SELECT 1 FROM hitline_control.{table} LIMIT 1")).result_rows:  # noqa: S608
            problem = f"no {what} was ever added: every pageview is refused"
            yield warning(_PART, problem, f"run `hitline {what} add`")

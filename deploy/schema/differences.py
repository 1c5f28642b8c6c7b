"""What is there compared with what the migrations made: tables, views and columns that somebody dropped or altered.

A record of a migration says that it ran once, not that its tables are still there.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from deploy.schema import replicas
from deploy.schema.migrations import Migration
from deploy.schema.render import render
from shared.clickhouse import ClickHouse

_OBJECT: Final = re.compile(
    r"(CREATE|DROP|ALTER) (?:OR REPLACE )?(?:(TABLE|VIEW|MATERIALIZED VIEW) )(?:IF (?:NOT )?EXISTS )?([\w.]+)",
    re.IGNORECASE,
)
_ADD: Final = re.compile(r"(?:ALTER TABLE \S+ )?ADD COLUMN IF NOT EXISTS (.*)", re.IGNORECASE)
_DROP: Final = re.compile(r"(?:ALTER TABLE \S+ )?DROP COLUMN IF EXISTS (\w+)", re.IGNORECASE)
#: Entries of a table's list that are not columns.
_NO_COLUMN: Final = re.compile(r"(INDEX|PROJECTION|CONSTRAINT|PRIMARY KEY)\b", re.IGNORECASE)
#: Where a column's type ends.
_AFTER_TYPE: Final = re.compile(
    r" (DEFAULT|MATERIALIZED|ALIAS|EPHEMERAL|CODEC|COMMENT|TTL|STATISTICS|AFTER|FIRST)\b", re.IGNORECASE
)


class Difference(NamedTuple):
    """Something that is not as the migrations made it, and the statements that restore it; none: people must decide."""

    text: str
    repair: tuple[str, ...] = ()


@dataclass
class _Expected:
    """A table or view as the migrations make it."""

    kind: str
    statements: list[str]
    #: Definitions by name; of tables only.
    columns: dict[str, str] = field(default_factory=dict)


async def differences(clickhouse: ClickHouse, applied: Sequence[Migration]) -> list[Difference]:
    """Compare what is there with what these migrations made."""
    sql = "SELECT database || '.' || name FROM system.tables WHERE database IN ('hitline', 'hitline_control')"
    there = {name for (name,) in (await clickhouse.query(sql)).result_rows}
    columns: dict[str, dict[str, str]] = {}
    sql = (
        "SELECT database || '.' || table, name, type FROM system.columns"
        " WHERE database IN ('hitline', 'hitline_control')"
    )
    for table, name, kind in (await clickhouse.query(sql)).result_rows:
        columns.setdefault(table, {})[name] = kind
    found: list[Difference] = []
    cluster = clickhouse.cluster
    all_expected = _expected(applied)
    if cluster:
        found += [Difference(*each) for each in await replicas.compare(clickhouse, set(all_expected))]
    for name, expected in all_expected.items():
        if name not in there:
            if cluster and any(each.text.startswith(f"{name} is missing on ") for each in found):
                continue  # another replica has it
            databases = f"CREATE DATABASE IF NOT EXISTS {name.partition('.')[0]}"
            repair = tuple(render(each, cluster) for each in (databases, *expected.statements))
            found.append(Difference(f"{expected.kind} {name} is missing", repair))
        elif expected.columns:
            found += [each async for each in _column_differences(clickhouse, name, expected, columns.get(name, {}))]
    return found


async def _column_differences(
    clickhouse: ClickHouse, table: str, expected: _Expected, there: dict[str, str]
) -> AsyncIterator[Difference]:
    for name, definition in expected.columns.items():
        if name not in there:
            repair = render(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {definition}", clickhouse.cluster)
            yield Difference(f"column {name} of {table} is missing", (repair,))
            continue
        kind = _type_of(definition)
        if kind and _squeezed(kind) != _squeezed(there[name]) and await _spelt(clickhouse, kind) != there[name]:
            yield Difference(f"column {name} of {table} is {there[name]} instead of {kind}")
    for name in there.keys() - expected.columns.keys():
        yield Difference(f"column {name} of {table} is not Hitline's")


async def _spelt(clickhouse: ClickHouse, kind: str) -> str:
    """Return a type as ClickHouse writes it."""
    sql = f"SELECT toTypeName(defaultValueOfTypeName({_quoted(kind)}))"
    return str((await clickhouse.query(sql)).result_rows[0][0])


def _expected(applied: Sequence[Migration]) -> dict[str, _Expected]:
    """Return tables and views by name, in the order in which they are to be made."""
    found: dict[str, _Expected] = {}
    for statement in (" ".join(statement.split()) for file in applied for statement in file.statements):
        match = _OBJECT.match(statement)
        if match is None:
            continue
        action, kind, name = match[1].upper(), match[2].lower(), match[3]
        if action == "DROP":
            found.pop(name, None)
        elif action == "CREATE":
            if kind != "table":  # the last definition counts
                found.pop(name, None)
            made = found.setdefault(name, _Expected(kind, []))
            made.statements.append(statement)
            if kind == "table":
                made.columns |= {each.split()[0].strip("`"): each for each in _listed(statement)}
        elif name in found:
            found[name].statements.append(statement)
            for part in _split(statement):
                if added := _ADD.match(part):
                    found[name].columns[added[1].split()[0].strip("`")] = added[1]
                elif dropped := _DROP.match(part):
                    found[name].columns.pop(dropped[1], None)
    return found


def _listed(create: str) -> Iterator[str]:
    """Yield the definitions of a new table's columns."""
    start = create.index("(")
    depth = 0
    for end in range(start, len(create)):
        depth += {"(": 1, ")": -1}.get(create[end], 0)
        if not depth:
            break
    for part in _split(create[start + 1 : end]):
        if not _NO_COLUMN.match(part):
            yield part


def _split(text: str) -> Iterator[str]:
    """Split at commas outside of parentheses and quotes."""
    depth, quoted, last = 0, False, 0
    for at, character in enumerate(text):
        quoted ^= character == "'"
        if quoted:
            continue
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and not depth:
            yield text[last:at].strip()
            last = at + 1
    yield text[last:].strip()


def _type_of(definition: str) -> str:
    """Return a definition's type; empty where it follows from the default."""
    rest = definition.partition(" ")[2]
    end = _AFTER_TYPE.search(f" {rest}")
    return (f" {rest}"[: end.start()] if end else rest).strip()


def _squeezed(kind: str) -> str:
    return kind.replace(" ", "")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

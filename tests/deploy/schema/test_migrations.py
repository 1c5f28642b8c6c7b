"""The migration files and what applies them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.schema import migrations
from deploy.schema.migrations import Migration, MigrationError
from shared.clickhouse import ClickHouse
from tests.parts import execute

REPEATABLE = re.compile(
    r"CREATE (DATABASE|TABLE|VIEW|MATERIALIZED VIEW|DICTIONARY|FUNCTION|USER|ROLE) IF NOT EXISTS\b|CREATE OR REPLACE\b"
    r"|INSERT INTO \S+ .* NOT IN \(SELECT .*\)$"
    r"|DROP \w+( \w+)? IF EXISTS\b|GRANT\b|ALTER TABLE \S+ (MODIFY|MATERIALIZE INDEX IF EXISTS"
    r"|(ADD|DROP|CLEAR|RENAME) \w+ IF (NOT )?EXISTS)\b"
)


def test_every_statement_of_every_file_can_be_run_twice() -> None:
    for file in migrations.read():
        assert file.statements
        for statement in file.statements:
            assert REPEATABLE.match(" ".join(statement.split())), f"{file.name}: {statement[:80]}"


def test_files_are_numbered_without_a_gap() -> None:
    assert [file.number for file in migrations.read()] == list(range(1, len(migrations.read()) + 1))


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("", ()),
        ("-- only; a comment\n", ()),
        ("SELECT 1; SELECT 2", ("SELECT 1", "SELECT 2")),
        ("SELECT 'a;b', `c;d`, \"e;f\";", ("SELECT 'a;b', `c;d`, \"e;f\"",)),
        (r"SELECT 'it\'s; ', 'it''s; -- no comment';", (r"SELECT 'it\'s; ', 'it''s; -- no comment'",)),
        ("SELECT 4 - 2 /* ; */ / 1; -- it's\nSELECT 3", ("SELECT 4 - 2  / 1", "SELECT 3")),
    ],
)
def test_text_is_split_into_statements(sql: str, statements: tuple[str, ...]) -> None:
    assert migrations.split(sql) == statements


def test_a_comment_does_not_change_the_checksum_and_a_column_does() -> None:
    def checksum(sql: str) -> str:
        return Migration(1, "0001_x.sql", migrations.split(sql)).checksum

    assert checksum("-- why\nSELECT  1;") == checksum("SELECT 1; -- because")
    assert checksum("SELECT 1") != checksum("SELECT 2")


def test_a_file_changed_after_it_was_applied_is_an_error() -> None:
    file = Migration(1, "0001_x.sql", ("SELECT 1",))
    with pytest.raises(MigrationError, match=r"0001_x.sql was changed after it was applied"):
        migrations.pending([file], {1: ("0001_x.sql", "another")})


def test_names_and_numbers_must_be_well_formed(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "0001_b.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match=r"0001_a.sql already has this number"):
        migrations.read(tmp_path)
    (tmp_path / "0001_b.sql").rename(tmp_path / "2_b.sql")
    with pytest.raises(MigrationError, match=r"2_b.sql: invalid migration name"):
        migrations.read(tmp_path)


async def test_an_interrupted_run_is_finished_by_the_next(tables: ClickHouseProcess) -> None:
    """The first statement ran, the second failed: nothing is recorded, and the file is run again from its start."""
    clickhouse = ClickHouse(tables.url, "hitline tests")
    name = "hitline_control.cut_off"
    create = f"CREATE TABLE IF NOT EXISTS {name} (n UInt8) ENGINE = MergeTree ORDER BY n"
    known = migrations.read()
    number = known[-1].number + 1
    try:
        broken = Migration(number, "9999_x.sql", (create, "CREATE TABLE IF NOT EXISTS hitline_control.y (n Nonsense)"))
        with pytest.raises(Exception, match="Nonsense"):
            _ = [file async for file in migrations.migrate(clickhouse, [*known, broken])]
        assert number not in await migrations.applied(clickhouse)
        mended = Migration(number, "9999_x.sql", (create, f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS m UInt8"))
        assert [file async for file in migrations.migrate(clickhouse, [*known, mended])] == [mended]
        assert number in await migrations.applied(clickhouse)
        assert migrations.unknown(known, await migrations.applied(clickhouse)) == ["9999_x.sql"]
    finally:
        await clickhouse.close()
        execute(tables, f"DROP TABLE IF EXISTS {name}")
        execute(
            tables, f"ALTER TABLE hitline_control.migrations DELETE WHERE number = {number} SETTINGS mutations_sync = 1"
        )

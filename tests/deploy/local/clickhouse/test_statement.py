"""How a query text is read, without an engine."""

from __future__ import annotations

import pytest

from deploy.local.clickhouse.errors import ClickHouseError, from_engine
from deploy.local.clickhouse.statement import read


@pytest.mark.parametrize(
    ("text", "fmt", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x00\x01", "Native", b"\x00\x01"),
        (b"insert into t (a, `format`) format  CSV \r\n1", "CSV", b"1"),
        (b"INSERT INTO t VALUES (1)", "Values", b" (1)"),
        (b"INSERT INTO values VALUES (1)", "Values", b" (1)"),
        (b"INSERT INTO t -- FORMAT x\nFORMAT TSV\n1", "TSV", b"1"),
        (b"INSERT INTO t", "Values", b""),
        (b"INSERT INTO FUNCTION f(view(SELECT 1)) FORMAT CSV\n1", "CSV", b"1"),
        (b"INSERT INTO FUNCTION f(SELECT 1) FORMAT CSV\n1", "CSV", b"1"),
    ],
)
def test_an_inserts_data_are_found(text: bytes, fmt: str, data: bytes) -> None:
    statement = read(text)
    assert statement.insert_format == fmt
    assert text[statement.data_start :] == data


def test_selects_into_a_table_have_no_data() -> None:
    for text in (b"INSERT INTO t SELECT format FROM x", b"INSERT INTO t SELECT * FROM values('a Int8', 1)"):
        assert read(text).insert_format is None


def test_the_memory_file_stands_before_settings() -> None:
    sql = read(b"INSERT INTO t SETTINGS async_insert = 0 FORMAT CSV\n1").sql_reading("/m")
    assert sql.index(b"INFILE '/m'") < sql.index(b"SETTINGS")


def test_a_format_clause_is_no_column_named_so() -> None:
    assert read(b"SELECT 1 FORMAT JSON").format == "JSON"
    assert read(b"SELECT format FROM t").format is None
    assert read(b"SELECT (SELECT 1 FORMAT JSON)").format is None


def test_a_semicolon_before_data_is_reported() -> None:
    with pytest.raises(ClickHouseError, match="';' symbol before data"):
        read(b"INSERT INTO t FORMAT CSV;1")


def test_only_the_table_of_processes_is_rewritten() -> None:
    assert b"log_comment" in read(b"SELECT * FROM system.processes").sql
    assert b"log_comment" in read(b"SELECT * FROM `system` . `processes` p").sql
    assert b"log_comment" not in read(b"SELECT 'system.processes'").sql
    assert b"log_comment" in read(b"KILL QUERY WHERE query_id = 'x'").sql
    assert b"log_comment" not in read(b"KILL QUERY WHERE elapsed > 1 AND query = 'query_id'").sql


def test_a_parameter_or_function_is_no_column_of_processes() -> None:
    sql = read(
        b"KILL QUERY WHERE query_id = {query_id:String} AND initial_user = user() AND `user` = {user : String}"
    ).sql
    assert sql.endswith(b" = {user : String}")
    assert b" = {query_id:String} AND " in sql
    assert b" = user() AND " in sql
    assert sql.count(b"extract(") == 3


def test_hints_for_clickhouses_own_tests_are_taken_out() -> None:
    assert b"serverError" not in read(b"SELECT 1 -- { serverError 60 }").sql
    assert b"'-- { a }'" in read(b"SELECT '-- { a }', 1 -- { b }").sql


def test_an_engines_doubled_text_becomes_one() -> None:
    error = from_engine(
        RuntimeError(
            "Code: 115. DB::Exception: Code: 115. DB::Exception: No. (UNKNOWN_SETTING)"
            " (version 26.9.2.1). (UNKNOWN_SETTING)"
        )
    )
    assert error.text("v") == "Code: 115. DB::Exception: No. (UNKNOWN_SETTING) (version v)\n"

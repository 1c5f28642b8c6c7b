"""The migrations as a cluster gets them: each statement, by the real parser."""

from __future__ import annotations

import re

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.schema import migrations
from deploy.schema.render import render
from tests import parts

STATEMENTS = [statement for file in migrations.read() for statement in file.statements] + list(migrations._RECORDS)
CREATES = [each for each in STATEMENTS if "MergeTree" in each]


def test_a_single_server_gets_what_the_files_say() -> None:
    assert [render(each, "") for each in STATEMENTS] == STATEMENTS


def test_the_parser_accepts_every_statement(clickhouse: ClickHouseProcess) -> None:
    for statement in STATEMENTS:
        if not statement.upper().startswith("INSERT"):
            tree = parts.execute(clickhouse, f"EXPLAIN AST {render(statement, 'some-cluster.1')}")
            assert tree.startswith(("CreateQuery", "AlterQuery", "DropQuery")), statement


def test_every_statement_reaches_every_replica_and_inserts_reach_one() -> None:
    for statement in STATEMENTS:
        is_insert = statement.upper().startswith("INSERT")
        assert render(statement, "there").count(" ON CLUSTER 'there'") == (0 if is_insert else 1), statement


@pytest.mark.parametrize("create", CREATES, ids=lambda create: re.findall(r"hitline\w*\.(\w+)", create)[0])
def test_every_table_is_replicated_as_durably(create: str) -> None:
    rendered = render(create, "there")
    assert len(re.findall(r"ENGINE = Replicated(?:Replacing)?MergeTree\b", rendered)) == 1
    assert not re.search(r"Replicated\w*\('", rendered), "an engine has a path of its own"
    # What a replica fetches is on its disk before it counts.
    assert ("fsync_after_insert = 1" in create) == ("min_compressed_bytes_to_fsync_after_fetch = 1" in rendered)
    # Equal blocks are dropped where a single server drops them, and nowhere else.
    window = re.findall(r"non_replicated_deduplication_window = (\d+)", create)
    assert re.findall(r"\breplicated_deduplication_window = (\d+)", rendered) == (window or ["0"])
    assert "non_replicated" not in rendered


def test_no_text_has_spaces_that_are_collapsed() -> None:
    for statement in STATEMENTS:
        assert all("  " not in text and "\n" not in text for text in re.findall(r"'[^']*'", statement))


def test_a_statement_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="how does a cluster execute"):
        render("RENAME TABLE hitline.a TO hitline.b", "there")

"""Data directories of earlier versions, which had no users and no ordinary database `default`, go on working."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests.deploy.local.clickhouse.conftest import Http

EARLIER = """
import sys
from chdb import _chdb
connection = _chdb.connect(f"{sys.argv[1]}?implicit_select=0")
for sql in (
    "CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO kept VALUES (1), (2)",
    "CREATE DATABASE own", "CREATE TABLE own.kept (a UInt8) ENGINE = MergeTree ORDER BY a",
    "INSERT INTO own.kept VALUES (3)",
):
    connection.query(sql, "TSV", params={})
connection.close()
"""


@pytest.mark.processes
def test_a_data_directory_of_an_earlier_version_is_taken_over(
    start: Callable[..., ClickHouseProcess], tmp_path: Path
) -> None:
    path = tmp_path / "earlier"
    subprocess.run([sys.executable, "-c", EARLIER, str(path)], check=True, timeout=60)
    process = start(path=path)
    for _ in range(3):
        http = Http(process)
        assert http("SELECT sum(a) FROM kept").text == "3\n"
        assert http("SELECT sum(a) FROM own.kept").text == "3\n"
        assert http("CREATE OR REPLACE TABLE new (a UInt8) ENGINE = MergeTree ORDER BY a").ok
        assert http("SHOW TABLES FROM default").text == "kept\nnew\n"
        process.kill()
        process.start()

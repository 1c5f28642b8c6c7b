"""`hitline doctor` on ClickHouse: a planted fault each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.observe.finding import Level
from tests import parts
from tests.deploy.cli.conftest import runner_with
from tests.deploy.observe.instance import Instance, one

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    """A ClickHouse of this module's own, whose schema is damaged and mended."""
    with ClickHouseProcess(tmp_path_factory.mktemp("clickhouse")) as process:
        parts.run_apart(lambda: parts.apply_schema(process.url))
        env = parts.make_env(tmp_path_factory.mktemp("state"), process)
        runner_with(env)("site", "add", "example.com")
        runner_with(env)("client", "add", "edge", "--grant", "example.com")
        yield process


@pytest.fixture
def instance(engine: ClickHouseProcess, tmp_path: Path) -> Instance:
    return Instance(parts.make_env(tmp_path, engine))


def test_nothing_is_wrong_with_a_healthy_clickhouse(instance: Instance) -> None:
    assert instance.findings("clickhouse") == []


def test_one_that_is_not_there_or_refuses(instance: Instance, engine: ClickHouseProcess) -> None:
    one(instance.findings("clickhouse", CLICKHOUSE_URL="http://127.0.0.1:1"), "does not answer")
    at = urlsplit(engine.url)
    found = one(
        instance.findings("clickhouse", CLICKHOUSE_URL=f"http://{at.username}:wrong@{at.hostname}:{at.port}"), "refuses"
    )
    assert "wrong" not in found.problem


@pytest.mark.parametrize(
    ("plant", "says", "mend"),
    [
        (
            "ALTER TABLE hitline.pageviews_raw MODIFY SETTING non_replicated_deduplication_window = 0",
            "non_replicated_deduplication_window of hitline.pageviews_raw is 0",
            "ALTER TABLE hitline.pageviews_raw MODIFY SETTING non_replicated_deduplication_window = 10000",
        ),
        (
            "ALTER TABLE hitline.outcomes_raw MODIFY SETTING fsync_after_insert = 0",
            "fsync_after_insert of hitline.outcomes_raw is 0",
            "ALTER TABLE hitline.outcomes_raw MODIFY SETTING fsync_after_insert = 1",
        ),
        (
            "ALTER TABLE hitline.pageviews_raw MODIFY COLUMN provider String",
            "the column provider of hitline.pageviews_raw is String instead of LowCardinality(String)",
            "ALTER TABLE hitline.pageviews_raw MODIFY COLUMN provider LowCardinality(String)",
        ),
        (
            "ALTER TABLE hitline.pageviews_raw RENAME COLUMN city TO town",
            "has no column city",
            "ALTER TABLE hitline.pageviews_raw RENAME COLUMN town TO city",
        ),
        (
            "RENAME TABLE hitline.outcomes TO hitline.outcomes_gone",
            "hitline.outcomes is missing",
            "RENAME TABLE hitline.outcomes_gone TO hitline.outcomes",
        ),
        (
            "INSERT INTO hitline_control.migrations (number, name, checksum) VALUES (9000, '9000_future.sql', 'x')",
            "9000_future.sql was applied by a newer version",
            "ALTER TABLE hitline_control.migrations DELETE WHERE number = 9000 SETTINGS mutations_sync = 2",
        ),
        (
            "INSERT INTO hitline_control.migrations (number, name, checksum) VALUES (1, '0001_pageviews.sql', 'x')",
            "0001_pageviews.sql was changed after it was applied",
            "ALTER TABLE hitline_control.migrations DELETE WHERE checksum = 'x' SETTINGS mutations_sync = 2",
        ),
    ],
)
def test_a_schema_that_differs(instance: Instance, engine: ClickHouseProcess, plant: str, says: str, mend: str) -> None:
    parts.execute(engine, plant)
    try:
        found = instance.findings("clickhouse")
    finally:
        parts.execute(engine, mend)
    one(found, says)
    assert instance.findings("clickhouse") == []


def test_a_schema_that_is_not_there(tmp_path: Path) -> None:
    with ClickHouseProcess(tmp_path / "clickhouse") as bare:
        found = one(Instance(parts.make_env(tmp_path / "state", bare)).findings("clickhouse"), "are not applied: 0001_")
        assert found.cure == "run `hitline migrate`"
        parts.run_apart(lambda: parts.apply_schema(bare.url))
        problems = {f.problem for f in Instance(parts.make_env(tmp_path / "state", bare)).findings("clickhouse")}
    assert problems == {
        "no site was ever added: every pageview is refused",
        "no client was ever added: every pageview is refused",
    }


def test_clocks_that_differ(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 3_600)
    found = one(instance.findings("clickhouse"), "ClickHouse's clock is +3,6")
    assert found.level is Level.ERROR


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    """An engine that has a user besides, who may read, but not the rows."""
    path = tmp_path_factory.mktemp("guarded")
    (path / "users.xml").write_text(
        """<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users>
        <default><password></password><networks><ip>::/0</ip></networks><profile>default</profile></default>
        <planted><password>planted</password><networks><ip>::/0</ip></networks><profile>default</profile>
          <grants><query>GRANT SELECT ON hitline.*</query><query>GRANT SELECT ON hitline_control.*</query></grants>
          <databases><hitline><pageviews_raw><filter>0</filter></pageviews_raw></hitline></databases>
        </planted></users></clickhouse>"""
    )
    with ClickHouseProcess(path / "data", config_file=path / "users.xml") as process:
        parts.run_apart(lambda: parts.apply_schema(process.url))
        yield process


def test_a_user_without_grants_and_rows_that_a_policy_hides(guarded: ClickHouseProcess, tmp_path: Path) -> None:
    site = "00000000-0000-0000-0000-000000000001"
    parts.execute(guarded, f"INSERT INTO hitline.pageviews_raw (site_id) VALUES ('{site}')")
    url = guarded.address.replace("://", "://planted:planted@")
    found = Instance(parts.make_env(tmp_path, guarded)).findings("clickhouse", CLICKHOUSE_URL=url)
    problems = " ".join(finding.problem for finding in found)
    assert "lacks what a worker needs: INSERT ON hitline.pageviews_raw" in problems
    assert "a row policy hides all pageviews" in problems

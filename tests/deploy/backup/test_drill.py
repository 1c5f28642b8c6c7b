"""The drill: back up, destroy, restore into a new instance, and compare by the ledger."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts
from tests.deploy.cli.conftest import Hitline, runner_with

pytestmark = pytest.mark.processes

#: Runs one statement in the engine itself, with a directory for backups, which the local front offers no way to name.
_ENGINE = """
import sys, chdb
path, config, statement = sys.argv[1:]
connection = chdb.connect(f"{path}?config-file={config}")
print(connection.query(statement))
connection.close()
"""
_PAGEVIEWS = """
    INSERT INTO hitline.pageviews_raw (site_id, timestamp, session_id, page_id, path, user_agent)
    SELECT toUUID('00000000-0000-0000-0000-00000000000' || toString(number % 3)),
        toDateTime('2025-11-10') + number * 3600, generateUUIDv4(number),
        generateUUIDv4(number + 1), '/page/' || toString(number), 'agent' FROM numbers(3000)
"""


def _in_the_engine(tmp_path: Path, instance: str, statement: str) -> None:
    """Run `BACKUP` or `RESTORE` on an instance that is stopped."""
    config = tmp_path / "backups.xml"
    config.write_text(f"<clickhouse><backups><allowed_path>{tmp_path}/kept/</allowed_path></backups></clickhouse>")
    command = [sys.executable, "-c", _ENGINE, str(tmp_path / instance), str(config), statement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "BACKUP_CREATED" in done.stdout or "RESTORED" in done.stdout, done.stderr


def _fill(process: ClickHouseProcess, tmp_path: Path) -> None:
    """Put sites, clients and pageviews into an instance."""
    hitline = runner_with(parts.make_env(tmp_path / "state", process))
    hitline("site", "add", "example.com", "--hostname", "*.example.org")
    hitline("client", "add", "edge", "--grant", "example.com", "--rate", "600/second")
    hitline("exclude", "add", "--cidr", "192.0.2.0/24")
    parts.execute(process, _PAGEVIEWS)


@pytest.fixture
def first(tmp_path: Path) -> Iterator[ClickHouseProcess]:
    """An instance of the test's own, which is stopped."""
    with ClickHouseProcess(tmp_path / "first") as process:
        parts.run_apart(lambda: parts.apply_schema(process.url))
        _fill(process, tmp_path)
        yield process


@pytest.fixture
def filled(tables: ClickHouseProcess, tmp_path: Path) -> ClickHouseProcess:
    _fill(tables, tmp_path)
    return tables


def test_what_is_restored_is_what_was_there(first: ClickHouseProcess, tmp_path: Path) -> None:
    hitline = runner_with(parts.make_env(tmp_path / "state", first))
    registry = tmp_path / "kept" / "registry"
    assert "a ledger of 3,000 pageviews" in hitline("backup", str(registry)).stdout
    assert "exists" in hitline("backup", str(registry), expect=1).stderr
    before = hitline("export").stdout
    token_hashes = parts.execute(first, "SELECT token_sha256 FROM hitline_control.clients")
    first.stop()
    _in_the_engine(tmp_path, "first", f"BACKUP DATABASE hitline TO File('{tmp_path}/kept/pageviews')")

    second = ClickHouseProcess(tmp_path / "second")
    with second:
        hitline = runner_with(parts.make_env(tmp_path / "new state", second))
        assert "has no Hitline tables" in hitline("backup", str(tmp_path / "other"), expect=1).stderr
        assert "run `hitline migrate`" in hitline("restore", str(registry), expect=1).stderr
        hitline("migrate", "--no-broker")
    _in_the_engine(tmp_path, "second", f"RESTORE DATABASE hitline FROM File('{tmp_path}/kept/pageviews')")
    with second:
        assert "all 3,000 pageviews of the backup are there" in hitline("restore", str(registry)).stdout
        assert hitline("export").stdout == before
        assert parts.execute(second, "SELECT token_sha256 FROM hitline_control.clients") == token_hashes

        assert "is not empty" in hitline("restore", str(registry), expect=1).stderr
        parts.execute(second, "DELETE FROM hitline.pageviews_raw WHERE path = '/page/7'")
        found = _verify(hitline, registry)
        assert "2025-11: 168 pageviews then, 167 now" in found
        parts.execute(second, _PAGEVIEWS.replace("'2025-11-10'", "'2026-11-01'"))
        assert _verify(hitline, registry) == found, "what came since is no difference"


def _verify(hitline: Hitline, registry: Path) -> str:
    """Return how the pageviews differ."""
    return hitline("restore", str(registry), "--verify-only", expect=1).stdout


def test_keys_that_are_lost_are_told(filled: ClickHouseProcess, tmp_path: Path) -> None:
    env = parts.make_env(tmp_path / "state", filled)
    runner_with(env)("backup", str(tmp_path / "kept"))
    other = {**env, "HITLINE_QUEUE_KEYS": "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI=", "HITLINE_ID_SECRET": "x" * 16}
    result = runner_with(other)("restore", str(tmp_path / "kept"), "--verify-only")
    assert "1 of the keys are not in HITLINE_QUEUE_KEYS" in result.stderr
    assert "HITLINE_ID_SECRET is another one" in result.stderr
    for path in (tmp_path / "kept").iterdir():
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for secret in (env["HITLINE_QUEUE_KEYS"], env["HITLINE_ID_SECRET"]):
            assert secret.encode() not in content


def test_a_backup_that_is_not_whole_is_refused(filled: ClickHouseProcess, tmp_path: Path) -> None:
    hitline = runner_with(parts.make_env(tmp_path / "state", filled))
    kept = tmp_path / "kept"
    hitline("backup", str(kept))
    manifest = kept / "manifest.json"
    whole = manifest.read_text()

    (kept / "sites.native.gz").write_bytes(b"damaged")
    assert "sites.native.gz is damaged" in hitline("restore", str(kept), expect=1).stderr
    manifest.write_text(json.dumps({**json.loads(whole), "form": 2}))
    assert "newer version" in hitline("restore", str(kept), expect=1).stderr
    manifest.write_text("{")
    assert "manifest.json is damaged" in hitline("restore", str(kept), expect=1).stderr
    manifest.unlink()
    assert "not completed" in hitline("restore", str(kept), expect=1).stderr

"""Users of a configuration file: passwords, grants, readonly, profiles, row filters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests.deploy.local.clickhouse.conftest import Http

pytestmark = pytest.mark.processes

CONFIG = f"""
<clickhouse>
  <users>
    <default><password>admin's</password><profile>default</profile></default>
    <analyst>
      <password_sha256_hex>{hashlib.sha256(b"look").hexdigest()}</password_sha256_hex>
      <profile>careful</profile>
      <grants><query>GRANT SELECT ON shop.orders</query><query>GRANT auditor</query></grants>
      <databases><shop><orders><filter>site = 1</filter></orders></shop></databases>
    </analyst>
    <writer>
      <no_password/>
      <grants><query>GRANT INSERT ON shop.*</query></grants>
    </writer>
  </users>
  <roles><auditor><grants><query>GRANT SELECT ON shop.audit</query></grants></auditor></roles>
  <profiles>
    <default/>
    <careful>
      <readonly>2</readonly><max_threads>1</max_threads>
      <constraints><max_threads><max>1</max></max_threads></constraints>
    </careful>
  </profiles>
</clickhouse>
"""
ADMIN = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "admin's"}
ANALYST = {"X-ClickHouse-User": "analyst", "X-ClickHouse-Key": "look"}
WRITER = {"X-ClickHouse-User": "writer"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    path = tmp_path_factory.mktemp("users")
    config = path / "given.xml"
    config.write_text(CONFIG)
    with ClickHouseProcess(path / "data", config_file=config) as process:
        http = Http(process)
        for sql in (
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (site UInt8, n UInt8) ENGINE = MergeTree ORDER BY n",
            "CREATE TABLE shop.audit (n UInt8) ENGINE = MergeTree ORDER BY n",
            "INSERT INTO shop.orders VALUES (1, 1), (2, 2)",
        ):
            answer = http(sql, ADMIN)
            assert answer.ok, answer.text
        yield http


def code(answer: object) -> str | None:
    return answer.headers.get("X-ClickHouse-Exception-Code")  # type: ignore[attr-defined]


def test_passwords_in_every_place(shop: Http) -> None:
    assert shop("SELECT 1", ADMIN).ok
    assert shop("SELECT 1", user="analyst", password="look").ok
    assert shop("SELECT 1", user="writer").ok
    with clickhouse_connect.get_client(
        host="127.0.0.1", port=shop.process.port, username="analyst", password="look"
    ) as client:
        assert client.query("SELECT n FROM shop.orders").result_rows == [(1,)]


def test_wrong_credentials_are_refused_with_the_servers_message(shop: Http) -> None:
    for headers in (
        {},
        {**ADMIN, "X-ClickHouse-Key": "x"},
        {"X-ClickHouse-User": "nobody"},
        {"Authorization": "Basic eDp5"},
    ):
        answer = shop("SELECT 1", headers)
        assert answer.status_code == 403
        assert code(answer) == "516"
        assert "Authentication failed" in answer.text
    assert code(shop("SELECT 1", {**ADMIN, "Authorization": "Basic eDp5"})) == "516"
    assert code(shop("SELECT 1", ADMIN, user="writer")) == "516"
    assert code(shop("SELECT 1", {"Authorization": "Basic d3JpdGVyOg=="}, user="writer")) == "516"
    assert code(shop("SELECT 1", {"Authorization": "Bearer x"})) == "516"


def test_grants_hold(shop: Http) -> None:
    refused = shop("SELECT * FROM shop.orders", WRITER)
    assert code(refused) == "497"
    assert f"DB::Exception: {WRITER['X-ClickHouse-User']}: Not enough privileges" in refused.text
    assert shop("9,9\n", WRITER, query="INSERT INTO shop.orders FORMAT CSV").ok
    assert shop("SELECT count() FROM shop.orders", ADMIN).text == "3\n"
    assert code(shop("CREATE TABLE shop.x (a UInt8) ENGINE = Memory", WRITER)) == "497"
    assert code(shop("SELECT * FROM file('/etc/hostname', 'LineAsString')", ANALYST)) in ("497", "164")
    assert code(shop("KILL QUERY WHERE 1", ANALYST)) == "497"
    assert shop("SELECT count() FROM shop.audit", ANALYST).ok  # by its role
    assert code(shop("SELECT 1", ANALYST, role="user_default")) == "512"


def test_the_function_file_needs_a_grant_as_on_a_server(shop: Http) -> None:
    """The engine itself lets every user read every file with it."""
    assert shop("SELECT file('/dev/null')", ADMIN).ok
    for sql in (
        "SELECT file('/dev/null')",
        "SELECT length(FILE /* */ ('/dev/null'))",
        "WITH '/dev/null' AS name SELECT `file`(materialize(name))",
        "INSERT INTO shop.orders SELECT 1, length(file('/dev/null'))",
        "EXPLAIN SYNTAX SELECT file('/dev/null')",
    ):
        assert code(shop(sql, WRITER)) == "497", sql
        assert code(shop(sql, ANALYST)) == "497", sql
    assert shop("SELECT 'file(' AS file", ANALYST).text == "file(\n"


def test_row_filters_hold(shop: Http) -> None:
    assert shop("SELECT n FROM shop.orders", ANALYST).text == "1\n"
    assert shop("SELECT n FROM shop.orders WHERE site != 1", ANALYST).text == ""


def test_the_profile_holds_and_can_not_be_left(shop: Http) -> None:
    assert shop("SELECT getSetting('max_threads'), getSetting('readonly')", ANALYST).text == "1\t2\n"
    assert code(shop("SELECT 1", ANALYST, max_threads=2)) == "452"
    assert code(shop("SELECT 1 SETTINGS max_threads = 2", ANALYST)) == "452"
    assert code(shop("SELECT 1", ANALYST, readonly=0)) == "164"
    assert code(shop("INSERT INTO shop.orders VALUES (1, 5)", ANALYST)) in ("164", "497")
    for sql in ("SET ROLE user_default", "SET ROLE ALL", "/**/ set role default"):
        assert code(shop(sql, ANALYST, session_id="climb")) == "512"
    assert shop("SELECT n FROM shop.orders", ANALYST, session_id="climb").text == "1\n"


def test_sessions_belong_to_their_user(shop: Http) -> None:
    assert shop("CREATE TEMPORARY TABLE own (a UInt8)", ADMIN, session_id="shared").ok
    assert code(shop("SELECT * FROM own", WRITER, session_id="shared")) in ("60", "497")


def test_no_password_is_in_the_data_directory(shop: Http) -> None:
    for file in (shop.process.path / "front").glob("*.xml"):
        assert b"admin's" not in file.read_bytes()
        assert hashlib.sha256(b"look").hexdigest().encode() not in file.read_bytes()


def test_a_configuration_that_can_not_be_kept_stops_the_start(tmp_path: Path) -> None:
    config = tmp_path / "bad.xml"
    config.write_text("<clickhouse><users><a><ldap/></a></users></clickhouse>")
    with pytest.raises(RuntimeError, match="user a: only no_password"):
        ClickHouseProcess(tmp_path / "data", config_file=config).start()


def test_without_a_configuration_there_is_only_default(http: Http) -> None:
    assert http("SELECT currentUser()").text == "default\n"
    assert code(http("SELECT 1", user="someone")) == "516"

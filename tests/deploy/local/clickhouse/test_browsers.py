"""What a web page can make a browser send, and what a user without sources can ask for: all of it is refused."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from deploy.local.clickhouse import sandbox
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.clickhouse.refusals import refuse_sources
from tests.deploy.local.clickhouse.conftest import Http

OF_A_PAGE = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8123"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Host": "evil.example:8123"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": ""},
]


@pytest.mark.parametrize("headers", OF_A_PAGE, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
def test_a_browsers_request_for_a_page_is_refused(http: Http, method: str, headers: dict[str, str]) -> None:
    for path in ("/?query=SELECT+1", "/ping"):
        sent = {**http.process.credentials, **headers}
        answer = requests.request(method, http.process.address + path, headers=sent, timeout=20)
        assert answer.status_code == 403, (path, answer.text)
        assert not any(name.lower().startswith("access-control") for name in answer.headers)


def test_programs_and_a_typed_address_are_answered(http: Http) -> None:
    for headers in ({}, {"Host": "localhost:1"}, {"Host": "[::1]:8123"}, {"Sec-Fetch-Site": "none"}):
        assert http("SELECT 1", headers).text == "1\n"


def test_nothing_is_answered_without_the_password(http: Http) -> None:
    for headers in ({}, {"X-ClickHouse-User": "default"}, {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "x"}):
        answer = requests.post(http.process.address, data="SELECT 1", headers=headers, timeout=20)
        assert answer.status_code == 403
        assert "Authentication failed" in answer.text


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the user's, outside of ClickHouse's directory."""
    file = tmp_path_factory.mktemp("home") / "secret.csv"
    file.write_text("top-secret\n")
    return file


REFUSED = {"46", "60", "62", "63", "81", "309", "452", "481", "497"}
# {0}: the file, {1}: one that is not there yet, beside it. Most worked before, for anybody.
OUTSIDE = r"""SELECT * FROM file('{0}', 'LineAsString')
SELECT * FROM `{0}`
SELECT * FROM _files.`{0}`
DESCRIBE file('{0}')
SELECT file('{0}')
SELECT “file”('{0}')
SELECT `\x66ile`('{0}')
SELECT file ('{0}')
SELECT arrayMap(file, ['{0}'])
SELECT * APPLY(file) FROM (SELECT '{0}' AS a)
INSERT INTO taken VALUES (file('{0}'))
INSERT INTO FUNCTION file('{1}', 'CSV', 'a String') VALUES ('x')
SELECT 1 INTO OUTFILE '{1}'
SELECT 1 INTO OUTFILE '{1}'
SELECT 1 INTO 　 OUTFILE '{1}'
INSERT INTO taken FROM INFILE '{0}' FORMAT TSV
SELECT * FROM eval('SELECT file(\'{0}\')') SETTINGS allow_experimental_eval_table_function = 1
SELECT 1 SETTINGS format_template_row = '{0}' FORMAT Template
SELECT * FROM filesystem('/')
SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')
INSERT INTO FUNCTION url('http://127.0.0.1:9/', 'CSV', 'a String') VALUES ('x')
SELECT * FROM remote('127.0.0.1:9', 'system.one')
SELECT * FROM s3('http://127.0.0.1:9/bucket/key', 'CSV', 'a String')
SELECT * FROM mysql('127.0.0.1:9', 'a', 'b', 'c', 'd')
SELECT * FROM postgresql('127.0.0.1:9', 'a', 'b', 'c', 'd')
SELECT * FROM mongodb('127.0.0.1:9', 'a', 'b', 'c', 'd', 'x String')
SELECT * FROM redis('127.0.0.1:9', 'k', 'k String')
SELECT * FROM sqlite('{0}', 't')
CREATE TABLE way_out (a String) ENGINE = File(CSV, '{0}')
CREATE TABLE way_out (a String) ENGINE = URL('http://127.0.0.1:9', CSV)
CREATE TABLE way_out (a String) ENGINE EmbeddedRocksDB(0, '{1}') PRIMARY KEY a
CREATE TABLE way_out (a String) ENGINE = Executable('cat', 'CSV')
CREATE TABLE way_out (a String) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '{1}/')
CREATE TABLE way_out (a String) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type=web, endpoint='http://127.0.0.1:9/')
CREATE DATABASE way_out ENGINE = Filesystem('/')
CREATE DATABASE way_out ENGINE = SQLite('{0}')
CREATE DATABASE way_out ENGINE = MySQL('127.0.0.1:9', 'x', 'a', 'b')
CREATE DICTIONARY way_out (k UInt8) PRIMARY KEY k SOURCE(EXECUTABLE(COMMAND 'id' FORMAT 'CSV'))
CREATE DICTIONARY way_out (k UInt8) PRIMARY KEY k SOURCE(HTTP(URL 'http://127.0.0.1:9' FORMAT 'CSV'))
BACKUP DATABASE system TO File('{1}')
CREATE NAMED COLLECTION way_out AS url = 'x'
CREATE USER stranger
SELECT * FROM python('os')""".splitlines()


@pytest.mark.parametrize("sql", OUTSIDE)
def test_no_statement_reaches_beyond_the_engine(http: Http, secret: Path, sql: str) -> None:
    http("CREATE TABLE IF NOT EXISTS taken (a String) ENGINE = Memory")
    new = secret.with_name("new")

    answer = http(_filled(sql, secret, new))

    assert answer.status_code in (400, 403, 404, 500), answer.text
    assert answer.headers["X-ClickHouse-Exception-Code"] in {
        "46",
        "60",
        "62",
        "63",
        "81",
        "309",
        "452",
        "481",
        "497",
    }, answer.text
    assert "top-secret" not in answer.text
    assert http("SELECT count() FROM taken").text == "0\n"
    assert [file.name for file in secret.parent.iterdir()] == [secret.name]


def _filled(sql: str, secret: Path, new: Path) -> bytes:
    for escaped in ("u00a0", "u3000", "u2003"):
        sql = sql.replace(f"\\{escaped}", chr(int(escaped[1:], 16)))
    return sql.format(secret, new).encode()


def test_no_structure_or_format_does_either(http: Http, secret: Path) -> None:
    structure = f"a String, b String DEFAULT file('{secret}')"
    for parameters in ({"ext_structure": structure}, {"ext_structure": "a String", "ext_format": "CSV SETTINGS x = 1"}):
        query = {"query": "SELECT * FROM ext", **parameters}
        url = f"{http.process.address}/?{urllib.parse.urlencode(query)}"
        answer = requests.post(url, files={"ext": ("x", b"1")}, headers=http.process.credentials, timeout=20)
        assert answer.status_code in (403, 404), answer.text
    given = structure.replace("'", "\\'")
    answer = http("1\n", query=f"INSERT INTO taken SELECT b FROM input('{given}') FORMAT TSV")
    assert answer.status_code == 403, answer.text


def test_columns_and_strings_named_so_are_harmless() -> None:
    for text in (
        "SELECT t.file, 'file(', 1 AS file FROM t",
        "SELECT engine, disk_name FROM system.tables WHERE engine = lower('x')",
        "CREATE VIEW v AS SELECT engine FROM system.tables",
        "CREATE TABLE t (engine String, disk UInt8) ENGINE = ReplacingMergeTree(a) ORDER BY engine",
        "SELECT profile(x), files FROM t",
    ):
        refuse_sources(text.encode())


def test_what_hitline_needs_is_granted(http: Http) -> None:
    for sql in (
        "CREATE DATABASE IF NOT EXISTS own",
        "CREATE OR REPLACE TABLE own.t (a UInt8) ENGINE = ReplacingMergeTree ORDER BY a",
        "INSERT INTO own.t VALUES (1)",
        "ALTER TABLE own.t DELETE WHERE a = 1 SETTINGS mutations_sync = 1",
        "CREATE OR REPLACE VIEW own.v AS SELECT * FROM own.t WHERE a = {a:UInt8}",
        "OPTIMIZE TABLE own.t FINAL",
        "SYSTEM STOP MERGES own.t",
        "SHOW GRANTS",
        "DROP DATABASE own",
    ):
        assert http(sql).ok, http(sql).text


@pytest.mark.processes
def test_the_process_itself_is_kept_from_files_and_addresses(
    start: Callable[..., ClickHouseProcess], tmp_path: Path
) -> None:
    """Without grants in the way: a user with all rights of a configuration of its own."""
    (tmp_path / "users.xml").write_text("<clickhouse><users><default><no_password/></default></users></clickhouse>")
    (tmp_path / "elsewhere").mkdir()
    secret = tmp_path / "elsewhere" / "secret"
    secret.write_text("top-secret")
    http = Http(start(config_file=tmp_path / "users.xml"))
    if not sandbox.version():
        pytest.skip("this kernel has no Landlock")
    assert http("SELECT file('/dev/null')").text == "\n"
    for sql in (
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        f"INSERT INTO FUNCTION file('{tmp_path}/new', 'CSV', 'a String') VALUES ('x')",
        f"SELECT * FROM url('http://127.0.0.1:{http.process.port}/ping', 'LineAsString')",
        "SELECT * FROM file('/proc/1/environ', 'RawBLOB')",
    ):
        answer = http(sql, http_max_tries=1)
        assert not answer.ok, sql
        assert "root:" not in answer.text
    assert not (tmp_path / "new").exists()

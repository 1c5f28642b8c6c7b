"""HTTP sessions: temporary tables, settings, locks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.deploy.local.clickhouse.conftest import Http
from tests.deploy.local.clickhouse.test_processes import FOREVER, count, wait_for


def test_temporary_tables_and_settings_live_in_the_session(http: Http) -> None:
    assert http("CREATE TEMPORARY TABLE mine (a UInt8)", session_id="s1").ok
    assert http("5\n", query="INSERT INTO mine FORMAT TSV", session_id="s1").ok
    assert http("SELECT a FROM mine", session_id="s1").text == "5\n"
    assert http("SELECT a FROM mine", session_id="other").status_code == 404
    assert http("SELECT a FROM mine").status_code == 404
    assert http("SET max_threads = 3", session_id="s1").ok
    assert http("SELECT getSetting('max_threads')", session_id="s1").text == "3\n"
    assert http("SELECT getSetting('max_threads')").text != "3\n"


def test_settings_of_the_url_hold_for_the_request_only(http: Http) -> None:
    http("SET max_threads = 3", session_id="s2")
    assert http("SELECT getSetting('max_threads')", session_id="s2", max_threads=5).text == "5\n"
    assert http("SELECT getSetting('max_threads')", session_id="s2").text == "3\n"
    assert http("SELECT getSetting('max_block_size')", session_id="s2", max_block_size=5).text == "5\n"
    assert http("SELECT getSetting('max_block_size')", session_id="s2").text != "5\n"
    assert http("CREATE TABLE no (a UInt8) ENGINE = Memory", session_id="s2", readonly=1).headers[
        "X-ClickHouse-Exception-Code"] == "164"  # fmt: skip
    assert http.get(query="SELECT getSetting('max_threads')", session_id="s2").text == "3\n"
    assert http("SELECT getSetting('readonly')", session_id="s2").text == "0\n"


def test_a_session_runs_one_query_at_a_time(http: Http) -> None:
    with ThreadPoolExecutor(1) as aside:
        aside.submit(http, FOREVER, session_id="s3", query_id="holder")
        wait_for(lambda: count(http, "holder") == 1)
        assert http("SELECT 1", session_id="s3").headers["X-ClickHouse-Exception-Code"] == "373"
        http("KILL QUERY WHERE query_id = 'holder' SYNC")
    assert http("SELECT 1", session_id="s3").ok


def test_session_check_and_close(http: Http) -> None:
    assert http("SELECT 1", session_id="s4", session_check=1).headers["X-ClickHouse-Exception-Code"] == "372"
    assert http("SELECT 1", session_id="s4").ok
    assert http("SELECT 1", session_id="s4", session_check=1, close_session=1).ok
    assert http("SELECT 1", session_id="s4", session_check=1).headers["X-ClickHouse-Exception-Code"] == "372"


def test_the_database_of_the_url_holds_for_the_request_only(http: Http) -> None:
    assert http("SELECT currentDatabase()", session_id="s5", database="system").text == "system\n"
    assert http("SELECT currentDatabase()", session_id="s5").text == "default\n"
    http("CREATE DATABASE IF NOT EXISTS elsewhere")
    assert http("USE elsewhere", session_id="s5", database="system").ok
    assert http("SELECT currentDatabase()", session_id="s5").text == "elsewhere\n"
    assert http("SELECT currentDatabase()", session_id="s5", database="nowhere").status_code == 404
    assert http("SELECT currentDatabase()", session_id="s5").text == "elsewhere\n"


def test_what_is_set_stays_set_even_beside_a_setting_of_the_url(http: Http) -> None:
    assert http("SET max_threads = 3", session_id="s6", max_threads=5).ok
    assert http("SELECT getSetting('max_threads')", session_id="s6").text == "3\n"

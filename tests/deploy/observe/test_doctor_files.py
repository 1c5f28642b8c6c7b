"""`hitline doctor` on settings, machine, look-ups, limits and processes: a planted fault each."""

from __future__ import annotations

import http.server
import os
import resource
import shutil
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from deploy.observe import context
from deploy.observe.finding import Level
from tests import parts
from tests.deploy.observe.instance import Instance, fill, one
from tests.worker.factories import CITY_RECORDS, write_database

_Usage = namedtuple("_Usage", "total used free")


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    fill(tmp_path / "state")
    return Instance(parts.make_env(tmp_path / "state"))


@pytest.fixture
def state(instance: Instance) -> Path:
    return Path(instance.env["HITLINE_STATE_DIR"])


@pytest.mark.parametrize("part", ["settings", "machine", "lookups", "limits", "processes"])
def test_nothing_is_wrong_with_a_healthy_instance(instance: Instance, part: str) -> None:
    assert instance.findings(part) == []


@pytest.mark.parametrize(
    ("changed", "level", "says"),
    [
        ({"QUEUE_KEYS": ""}, Level.ERROR, "HITLINE_QUEUE_KEYS: is required"),
        ({"QUEUE_KEYS": "c2hvcnQ="}, Level.ERROR, "HITLINE_QUEUE_KEYS: key 1 has 5 bytes"),
        ({"ID_SECRET": "short"}, Level.ERROR, "HITLINE_ID_SECRET: is shorter"),
        ({"RATE_LIMIT": "many"}, Level.ERROR, "HITLINE_RATE_LIMIT: must be a rate"),
        ({"FLUSH_ROWS": "0"}, Level.ERROR, "HITLINE_FLUSH_ROWS"),
        ({"FLUSH_ROW": "5"}, Level.WARNING, "HITLINE_FLUSH_ROW is no setting; did you mean HITLINE_FLUSH_ROWS?"),
        ({"AMQP_URL": "amqp://user:pass@broker.example/"}, Level.WARNING, "goes to broker.example in the clear"),
        ({"CLICKHOUSE_URL": "http://u:p@db.example:8123"}, Level.WARNING, "go to db.example in the clear"),
        ({"CLICKHOUSE_URL": "db:9000"}, Level.ERROR, "HITLINE_CLICKHOUSE_URL"),
    ],
)
def test_settings(instance: Instance, changed: dict[str, str], level: Level, says: str) -> None:
    found = one(instance.findings("settings", **changed), says)
    assert found.level is level
    assert not {"pass", "short", "u:p"} & set(found.problem.replace("@", " ").split()), "values are not quoted"


def test_a_malformed_broker_address(instance: Instance) -> None:
    one(instance.findings("settings", AMQP_URL="broker:5672"), "HITLINE_AMQP_URL: address 1 is malformed")


def test_a_secret_that_every_user_can_read(instance: Instance, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret for tests only")
    secret.chmod(0o644)
    changed = {"ID_SECRET": "", "ID_SECRET_FILE": str(secret)}
    one(instance.findings("settings", **changed), "can be read by every user")
    secret.chmod(0o600)
    assert instance.findings("settings", **changed) == []


def test_a_secret_that_is_set_twice(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret for tests only")
    found = instance.findings("settings", ID_SECRET_FILE=str(tmp_path / "secret"))
    assert any("are both set" in finding.problem for finding in found)


def test_a_state_directory_that_is_missing_or_a_file(instance: Instance, tmp_path: Path) -> None:
    one(instance.findings("machine", STATE_DIR=str(tmp_path / "none")), "does not exist")
    (tmp_path / "file").touch()
    one(instance.findings("machine", STATE_DIR=str(tmp_path / "file")), "is not a directory")


def test_a_state_directory_that_others_write(instance: Instance, state: Path) -> None:
    state.chmod(0o777)
    one(instance.findings("machine"), "can be written by every user")


def test_a_state_directory_that_can_not_be_written(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    one(instance.findings("machine"), "can't be written by this user")


def test_a_full_disk_and_few_files(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(shutil, "disk_usage", lambda _: _Usage(1 << 40, 1 << 40, 50 << 20))
        one(instance.findings("machine"), "50 MiB are free")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_024))
    one(instance.findings("machine"), "may open 1024 files")


def test_geo_databases(instance: Instance, state: Path) -> None:
    city = state / "geo" / "city.mmdb"
    one(instance.findings("lookups", GEO_ASN_DB=str(state / "none.mmdb")), "does not exist")
    (state / "geo" / "asn.mmdb").unlink()
    one(instance.findings("lookups"), "there is no asn database")
    write_database(state / "geo" / "asn.mmdb", CITY_RECORDS)
    one(instance.findings("lookups"), "asn.mmdb")  # of another kind
    (state / "geo" / "asn.mmdb").write_bytes(b"")
    one(instance.findings("lookups"), "is empty")
    (state / "geo" / "asn.mmdb").unlink()
    content = city.read_bytes()
    city.write_bytes(content[: len(content) // 2])
    assert {finding.level for finding in instance.findings("lookups")} == {Level.ERROR, Level.WARNING}


def test_an_old_geo_database(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 6 * 86_400)
    assert instance.findings("lookups") == []
    monkeypatch.setattr(time, "time", lambda: now + 100 * 86_400)
    found = instance.findings("lookups")
    assert sum("was built 100 days ago" in finding.problem for finding in found) == 2


def test_spam_lists(instance: Instance, state: Path) -> None:
    spam = state / "feeds" / "referrer_spam.txt"
    one(instance.findings("lookups", SPAM_DIR=str(state / "none")), "is not a directory")
    os.utime(spam, (time.time() - 10 * 86_400,) * 2)
    one(instance.findings("lookups"), "is 10 days old")
    spam.write_bytes(b"\x00\xff\x00")
    one(instance.findings("lookups"), "the spam list")
    spam.unlink()
    one(instance.findings("lookups"), "no spam lists were downloaded")


def test_a_redis_that_does_not_answer(instance: Instance) -> None:
    one(instance.findings("limits", RATE_LIMIT_STORAGE="redis://127.0.0.1:1/0"), "does not answer")


class _Unready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b"the broker is not connected\n")

    def log_message(self, *_: object) -> None: ...


def test_a_process_that_is_not_ready(instance: Instance) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Unready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = instance.findings("processes", ADMIN_PORT=str(server.server_port))
    finally:
        server.shutdown()
        server.server_close()
    assert {finding.problem for finding in found} == {
        "the gateway is not ready: the broker is not connected",
        "the worker is not ready: the broker is not connected",
    }


def test_the_management_api_may_be_named_by_a_file(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://monitor:secret@rabbit:15672\n")
    environ = {**instance.env, "HITLINE_RABBITMQ_API_URL_FILE": str(tmp_path / "url")}
    assert context.read(environ).management_url == "http://monitor:secret@rabbit:15672"
    assert context.read({**environ, "HITLINE_RABBITMQ_API_URL_FILE": str(tmp_path / "none")}).management_url == ""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from deploy.local.environment import Ports, of_caller, read_env, settings, write_env

PORTS = Ports(8080, 9080, 9081, 8123)
AWKWARD = {
    "HITLINE_AMQP_URL": "amqp://u:p$HOME`id`@127.0.0.1:5672/",
    "HITLINE_ID_SECRET": 'it\'s "quoted" \\ and # spaced',
    "HITLINE_SPAM_DIR": "/tmp/with space;and more",
}


@pytest.mark.processes
def test_the_env_file_gives_a_shell_exactly_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "env"
    write_env(file, AWKWARD)

    script = '. "$1"; printf "%s\\n" "$HITLINE_AMQP_URL" "$HITLINE_ID_SECRET" "$HITLINE_SPAM_DIR"'
    printed = subprocess.run(
        ["/bin/sh", "-euc", script, "sh", str(file)], capture_output=True, text=True, check=True, env={}
    )

    assert printed.stdout.splitlines() == list(AWKWARD.values())
    assert read_env(file) == AWKWARD


def test_the_env_file_is_its_owners_only(tmp_path: Path) -> None:
    write_env(tmp_path / "env", AWKWARD)

    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    first = settings({}, {}, PORTS, tmp_path)
    second = settings({}, first | {"HITLINE_DEMO_TOKEN": "t"}, PORTS, tmp_path)

    assert len(base64.b64decode(first["HITLINE_QUEUE_KEYS"], validate=True)) == 32
    assert len(first["HITLINE_ID_SECRET"]) >= 32
    assert second == first | {"HITLINE_DEMO_TOKEN": "t"}


def test_the_callers_settings_win_over_defaults_and_what_was_kept(tmp_path: Path) -> None:
    caller = of_caller({"HITLINE_ID_SECRET": "mine", "HITLINE_RATE_LIMIT": "10/second", "HOME": "/", "HITLINE_X": ""})
    merged = settings(caller, {"HITLINE_ID_SECRET": "kept"}, PORTS, tmp_path)

    assert merged["HITLINE_ID_SECRET"] == "mine"
    assert merged["HITLINE_RATE_LIMIT"] == "10/second"
    assert "HITLINE_X" not in merged
    assert "HOME" not in merged


def test_keys_that_sealed_what_is_queued_stay_behind_the_callers_own(tmp_path: Path) -> None:
    merged = settings({"HITLINE_QUEUE_KEYS": "new"}, {"HITLINE_QUEUE_KEYS": "old1,old2"}, PORTS, tmp_path)

    assert merged["HITLINE_QUEUE_KEYS"] == "new,old1,old2"


def test_what_only_an_earlier_caller_wanted_is_forgotten(tmp_path: Path) -> None:
    assert "HITLINE_RATE_LIMIT" not in settings({}, {"HITLINE_RATE_LIMIT": "1/second"}, PORTS, tmp_path)


def test_the_clickhouse_password_is_generated_once_and_in_the_address(tmp_path: Path) -> None:
    # An env file of an earlier version has an address without a password.
    first = settings({}, {"HITLINE_CLICKHOUSE_URL": "http://127.0.0.1:8123"}, PORTS, tmp_path)
    second = settings({}, first, PORTS, tmp_path)

    password = first["CLICKHOUSE_PASSWORD"]
    assert len(password) >= 32
    assert first["HITLINE_CLICKHOUSE_URL"] == f"http://default:{password}@127.0.0.1:8123"
    assert second == first
    assert settings({}, {}, PORTS, tmp_path)["CLICKHOUSE_PASSWORD"] != password

"""Reading settings from the environment."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import KNOWN, Port, QueueKeys, Secret, Settings, SettingsError, load


class Some(Settings):
    """A process's settings."""

    queue_keys: QueueKeys
    id_secret: Secret
    http_port: Port = 8080


KEYS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(2)]
GOOD = {"HITLINE_QUEUE_KEYS": ",".join(KEYS), "HITLINE_ID_SECRET": "long enough a secret"}


def test_set_values_are_read_and_others_have_defaults() -> None:
    some = load(Some, {**GOOD, "HITLINE_HTTP_PORT": "0", "HITLINE_STATE_DIR": "/var/x", "PATH": "/bin"})
    assert some.queue_keys == (bytes(32), b"\x01" * 32)
    assert (some.http_port, some.state_dir, some.log_format) == (0, Path("/var/x"), "text")


def test_several_broker_addresses_are_separated_by_commas_or_spaces() -> None:
    assert load(Some, {**GOOD, "HITLINE_AMQP_URL": "amqp://a/, amqp://b/ amqp://c/"}).amqp_url == (
        "amqp://a/", "amqp://b/", "amqp://c/",
    )  # fmt: skip


def test_an_empty_variable_counts_as_absent() -> None:
    assert load(Some, {**GOOD, "HITLINE_HTTP_PORT": ""}).http_port == 8080


def test_settings_never_change() -> None:
    some = load(Some, GOOD)
    with pytest.raises(ValidationError):
        some.http_port = 1


def test_every_wrong_variable_is_named_with_its_rule() -> None:
    with pytest.raises(SettingsError) as refused:
        load(Some, {"HITLINE_QUEUE_KEYS": "dG9vIHNob3J0", "HITLINE_HTTP_PORT": "70000"})
    text = str(refused.value)
    assert "HITLINE_QUEUE_KEYS: key 1 has 9 bytes" in text
    assert "HITLINE_ID_SECRET: is required and not set" in text
    assert "HITLINE_HTTP_PORT" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUEUE_KEYS", "not/base64/secret-words"),
        ("QUEUE_KEYS", "c2VjcmV0LXdvcmRz"),
        ("ID_SECRET", "secret-words"),
        ("HTTP_PORT", "secret-words"),
        ("LOG_FORMAT", "secret-words"),
    ],
)
def test_an_error_never_shows_the_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(Some, {**GOOD, f"HITLINE_{name}": value})
    assert value not in str(refused.value)
    assert f"HITLINE_{name}" in str(refused.value)


def test_an_unknown_variable_is_a_warning_that_names_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    load(Some, {**GOOD, "HITLINE_HTP_PORT": "secret-words"})
    assert "HITLINE_HTP_PORT" in caplog.text
    assert "did you mean HITLINE_HTTP_PORT?" in caplog.text
    assert "secret-words" not in caplog.text


def test_another_process_settings_are_known(caplog: pytest.LogCaptureFixture) -> None:
    load(Some, {**GOOD, "HITLINE_FLUSH_ROWS": "1", "HITLINE_DEMO_TOKEN": "x"})
    assert caplog.text == ""


def test_every_field_is_a_known_variable() -> None:
    assert {name.upper() for name in Some.model_fields} <= KNOWN


def test_a_secret_may_come_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(KEYS[0] + "\n")
    some = load(Some, {"HITLINE_ID_SECRET": "long enough a secret", "HITLINE_QUEUE_KEYS_FILE": str(path)})
    assert some.queue_keys == (bytes(32),)


@pytest.mark.parametrize(
    ("content", "rule"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"x" * 70_000, "is larger than 64 KiB"), (b"\xff\xfe", "is not text")],
)
def test_a_secret_file_without_a_secret_is_named(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"HITLINE_ID_SECRET_FILE: {path} {rule}"):
        load(Some, {"HITLINE_QUEUE_KEYS": KEYS[0], "HITLINE_ID_SECRET_FILE": str(path)})


def test_a_missing_secret_file_is_named_and_setting_both_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"HITLINE_ID_SECRET_FILE: /none can't be read: No such file"):
        load(Some, {"HITLINE_QUEUE_KEYS": KEYS[0], "HITLINE_ID_SECRET_FILE": "/none"})
    with pytest.raises(SettingsError, match="HITLINE_ID_SECRET and HITLINE_ID_SECRET_FILE are both set"):
        load(Some, {**GOOD, "HITLINE_ID_SECRET_FILE": "/none"})

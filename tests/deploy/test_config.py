"""The configuration files that operators start from, held against the settings that the code reads."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import GatewaySettings
from shared.secret_files import SECRETS
from shared.settings import KNOWN, load
from worker.settings import WorkerSettings

CONFIG = Path(__file__).parents[2] / "deploy" / "config"
REFERENCE = (CONFIG / "reference.env").read_text("utf-8")
#: What `make run` sets for itself and its tests.
LOCAL_ONLY = {"DEMO_TOKEN", "CLICKHOUSE_PORT", "WORKER_ADMIN_PORT"}
LINE = re.compile(r"^(#?)HITLINE_([A-Z_]+)=(.*)$", re.MULTILINE)
KEYS = {"HITLINE_QUEUE_KEYS": base64.b64encode(bytes(32)).decode(), "HITLINE_ID_SECRET": "x" * 32}


def test_the_reference_names_every_setting_once() -> None:
    named = [name for _, name, _ in LINE.findall(REFERENCE)]
    assert sorted(named) == sorted(KNOWN - LOCAL_ONLY)


@pytest.mark.parametrize("model", [GatewaySettings, WorkerSettings])
def test_its_values_are_the_defaults(model: Any) -> None:
    shown = {f"HITLINE_{name}": value for _, name, value in LINE.findall(REFERENCE) if value}
    shown.update(KEYS)
    if model is WorkerSettings:
        shown["HITLINE_ADMIN_PORT"] = "9081"  # said in the comment: one file serves both
    assert load(model, shown) == load(model, KEYS)


@pytest.mark.parametrize("model", [GatewaySettings, WorkerSettings])
def test_required_settings_are_not_commented_out(model: Any) -> None:
    required = {name.upper() for name, field in model.model_fields.items() if field.is_required()}
    assert required <= {name for mark, name, _ in LINE.findall(REFERENCE) if not mark} == {"QUEUE_KEYS", "ID_SECRET"}


def test_every_secret_may_come_in_a_file() -> None:
    paragraphs = REFERENCE.split("\n\n")
    marked = {name for text in paragraphs if "secret)" in text for _, name, _ in LINE.findall(text)}
    assert marked - {"MAXMIND_ACCOUNT_ID"} == SECRETS


@pytest.mark.parametrize("model", [GatewaySettings, WorkerSettings])
def test_the_minimal_file_is_enough(model: Any) -> None:
    minimal = {f"HITLINE_{name}": value for _, name, value in LINE.findall((CONFIG / "minimal.env").read_text("utf-8"))}
    assert load(model, {**minimal, **KEYS}).amqp_url == ("amqp://hitline:PASSWORD@rabbitmq.example:5672/",)

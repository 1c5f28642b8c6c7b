"""Which ClickHouse the stack uses, without starting one."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.environment import write_env
from deploy.local.stack import Stack


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://default:{}@127.0.0.1:1", "http://default:{}@localhost:2"]
)
def test_a_shell_with_the_stacks_own_address_is_no_clickhouse_of_the_users(tmp_path: Path, url: str) -> None:
    write_env(tmp_path / "env", {"CLICKHOUSE_PASSWORD": "kept"})
    said: list[str] = []
    environ = {"HITLINE_CLICKHOUSE_URL": url.format("kept"), "HITLINE_CLICKHOUSE_PORT": "1"}
    stack = Stack(tmp_path, environ, said.append)

    assert not stack._has_clickhouse()
    assert said == []
    assert stack.settings["HITLINE_CLICKHOUSE_URL"] == "http://default:kept@127.0.0.1:1"


def test_another_address_that_does_not_answer_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    stack = Stack(tmp_path, {"HITLINE_CLICKHOUSE_URL": "http://default:x@127.0.0.1:1"}, said.append)

    assert not stack._has_clickhouse()
    assert said == ["HITLINE_CLICKHOUSE_URL is set but does not answer. Using an embedded ClickHouse instead."]

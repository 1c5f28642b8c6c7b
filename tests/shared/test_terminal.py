"""Foreign text is shown, and does nothing to a terminal."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

import pytest

from deploy.cli import explain, support
from shared.terminal import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode 日本", "plain, ünïcode 日本"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b]52;c;Y3VybA==\x1b\\", "\\x1b]52;c;Y3VybA==\\x1b\\"),
        ("a\r\nb\x9b2J\u202e\u2028", "a\\x0d\\x0ab\\x9b2J\\u202e\\u2028"),
        ("\udcff", "\\xff"),
    ],
)
def test_control_characters_become_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_width_cuts() -> None:
    assert visible("x" * 10, 5) == "xxxx…"


@pytest.mark.parametrize("step", ["kept", "dropped", "rejected"])
def test_what_explain_prints_is_visible(step: str) -> None:
    bad = "\x1b]52;c;Y3VybA==\x07"
    answers: dict[str, dict[str, Any]] = {
        "kept": {"outcome": "stored", "steps": [{"step": "put_page", "decision": "put", "found": {"path": bad}}],
                 "problems": {"geo": bad}, "row": {"path": bad, "hosts": [bad]}},
        "dropped": {"outcome": "excluded_path", "steps": [{"step": "s", "decision": "drop", "rule": bad}],
                    "problems": {}, "rule": bad},
        "rejected": {"outcome": "rejected", "status": 400, "message": bad},
    }  # fmt: skip
    with redirect_stdout(io.StringIO()) as out:
        explain._print(answers[step])

    assert "\x1b" not in out.getvalue()
    assert "\\x1b]52" in out.getvalue()


def test_tables_are_visible() -> None:
    with redirect_stdout(io.StringIO()) as out:
        support.print_table(["ID", "REASON"], [["1\x1b[2J", "why\x07"]])

    assert out.getvalue().isprintable() or "\x1b" not in out.getvalue()
    assert "1\\x1b[2J" in out.getvalue()

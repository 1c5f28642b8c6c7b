"""`hitline dead`: exit codes; what it does with letters is proven in tests/delivery."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.cli import dead
from deploy.cli.support import CommandError
from tests import parts
from tests.deploy.cli.conftest import runner_with


def test_an_unknown_id_is_an_error(stack: parts.Stack) -> None:
    hitline = runner_with(stack.env)
    assert "has the id nope" in hitline("dead", "purge", "nope", "--yes", expect=1).stderr
    with pytest.raises(CommandError, match="has the id nope"):
        dead._refuse_unknown(("AB", "nope"), {"abc"})


def test_a_letter_that_cant_be_opened_is_an_error(stack: parts.Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unopenable(*_: Any) -> dict[str, Any]:
        return {"id": "a", "contents": [], "unreadable": "no key opens it"}

    monkeypatch.setattr(dead, "_show", unopenable)
    assert "can't be opened: no key opens it" in runner_with(stack.env)("dead", "show", "a", expect=1).stderr

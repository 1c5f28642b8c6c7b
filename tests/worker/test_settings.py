from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from worker.settings import WorkerSettings


@pytest.mark.parametrize(("days", "sound"), [(0, True), (36_500, True), (36_501, False), (-1, False)])
def test_retention_is_bounded(days: int, sound: bool) -> None:
    values: dict[str, Any] = {"queue_keys": ("A" * 43 + "=",), "retention_days": days}
    if sound:
        assert WorkerSettings(**values).retention_days == days
    else:
        with pytest.raises(ValidationError, match="retention_days"):
            WorkerSettings(**values)

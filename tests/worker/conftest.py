from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.metrics import TRUNCATED


@pytest.fixture
def counted() -> Callable[[], dict[str, int]]:
    """Count strings cut since the test began, by column."""

    def read() -> dict[str, int]:
        return {
            s.labels["column"]: int(s.value)
            for s in next(iter(TRUNCATED.collect())).samples
            if s.name.endswith("_total")
        }

    before = read()

    def since() -> dict[str, int]:
        return {name: value - before.get(name, 0) for name, value in read().items() if value != before.get(name, 0)}

    return since

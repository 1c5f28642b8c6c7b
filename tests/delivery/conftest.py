from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import parts, services
from tests.services import System


@pytest.fixture
def bare(stack: parts.Stack, tmp_path: Path) -> Iterator[System]:
    """A system without workers on empty tables and queues; the test adds its own."""
    with services.system(stack.clickhouse, stack.broker, tmp_path, workers=0) as running:
        yield running

"""The bench of reports in short: with rollups they say what exact rows do, and read a part of these."""

from __future__ import annotations

import pytest

from tests.bench import report
from tests.bench.table import Table

pytestmark = pytest.mark.processes


def test_a_report_from_rollups_is_that_from_exact_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_TIMES", 1)
    report.main(4_500, Table(), exact=True)
    assert "from exact rows" in capsys.readouterr().out

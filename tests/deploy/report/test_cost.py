"""The bench of reports in short: with rollups they say what exact rows do, and read a part of these."""

from __future__ import annotations

import pytest

from tests.bench import report, report_all
from tests.bench.table import Table

pytestmark = pytest.mark.processes


def test_a_report_from_rollups_is_that_from_exact_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_TIMES", 1)
    report.main(4_500, Table(), exact=True)
    assert "from exact rows" in capsys.readouterr().out


def test_a_report_of_all_sites(capsys: pytest.CaptureFixture[str]) -> None:
    report_all.main(2, 60, Table(), each=1)
    assert "2 sites" in capsys.readouterr().out

"""No value that a visitor chooses is a formula in any spreadsheet."""

from __future__ import annotations

import csv
import re

import pytest

from deploy.report.tables import cell


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_no_cell_begins_like_a_formula_whatever_separates_them(separator: str, start: str) -> None:
    for value in (f"{start}cmd()", f"/a;{start}cmd()", f"/a; {start}cmd()", f"/a;\t{start}cmd()", f"/a,{start}cmd()"):
        for found in next(csv.reader([f"path,{cell(value)},1,1"], delimiter=separator)):
            assert not re.match(r"\s*[=+\-@]", found), value


def test_other_values_stay_as_they_are() -> None:
    assert cell("/a-b;c=d,e") == "/a-b;c=d,e"

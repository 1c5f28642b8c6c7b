from __future__ import annotations

import os
from pathlib import Path

from tests import in_memory


def test_files_are_removed_of_this_user_s_runs_that_have_ended(tmp_path: Path) -> None:
    ended, running, other = (
        tmp_path / name for name in (f"{in_memory._NAME}{2**22 + 1}", f"{in_memory._NAME}{os.getpid()}", "other-1")
    )
    for directory in (ended, running, other):
        directory.mkdir()
        (directory / "file").touch()
    in_memory.remove_left(tmp_path)
    assert [each.exists() for each in (ended, running, other)] == [False, True, True]

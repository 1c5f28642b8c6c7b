"""Flame graphs of what is measured: `make bench PROFILE=1` (py-spy, in the extra `bench`)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.table import Table

#: Where everything is written that a run leaves.
RESULTS: Final = Path(__file__).parent.parent.parent / ".local" / "bench"
_PER_SECOND: Final = "200"


class Flames:
    """A recording that may be under way."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def note(self, table: Table) -> None:
        """Say where it will be."""
        if self._file is not None:
            table.note("flame graph", str(self._file.relative_to(Path.cwd())))


@contextlib.contextmanager
def flames(pid: int, name: str) -> Iterator[Flames]:
    """Record a process until the block is left, if PROFILE=1: `.local/bench/NAME.svg`.

    Stacks are counted over the whole time; PROFILE=raw writes them as lines of text, for other tools.
    """
    wanted = os.environ.get("PROFILE", "")
    if not wanted:
        yield Flames(None)
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    kind, suffix = ("raw", "txt") if wanted == "raw" else ("flamegraph", "svg")
    file = RESULTS / f"{name}.{suffix}"
    command = [str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(pid), "--format", kind]
    with subprocess.Popen(
        [*command, "--rate", _PER_SECOND, "--output", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as recording:
        try:
            yield Flames(file)
        finally:
            recording.send_signal(signal.SIGINT)

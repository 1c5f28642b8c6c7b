"""How much memory a process may use, by the files of its control groups, and what it gives back of it."""

from __future__ import annotations

import asyncio
import mmap
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from shared import process
from shared.process import memory_limit
from tests.garbage import collecting_nothing
from tests.services import ROOT

MIB = 2**20


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory.max": f"{300 * MIB}\n"}, 300 * MIB),  # a container's own group is its root
        (
            "0::/system.slice/hitline.service\n",
            {"system.slice/hitline.service/memory.max": f"{200 * MIB}\n"},
            200 * MIB,
        ),
        (
            "0::/a/b\n",
            {"a/b/memory.max": "max\n", "a/memory.max": f"{100 * MIB}\n", "memory.max": f"{300 * MIB}"},
            100 * MIB,
        ),
        ("5:cpu:/x\n4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": f"{150 * MIB}\n"}, 150 * MIB),
        ("4:memory:/not/here\n", {"memory/memory.limit_in_bytes": f"{120 * MIB}\n"}, 120 * MIB),
    ],
)
def test_the_least_limit_of_all_its_groups_counts(own: str, files: dict[str, str], limit: int, tmp_path: Path) -> None:
    put(tmp_path / "own", own)
    for name, text in files.items():
        put(tmp_path / "groups" / name, text)

    assert memory_limit(tmp_path / "groups", tmp_path / "own") == limit


def test_without_any_it_is_the_machines(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path / "none") > 64 * MIB


#: Alone in a process, whose heap has no room from before.
_LARGE_BETWEEN_SMALL = """
import asyncio
from shared import process
MIB = 1 << 20
async def main():
    process._TRIM_S, process._PART_OF_TIME = 0.05, 1
    returning = asyncio.create_task(process.return_freed_memory())
    await asyncio.sleep(0.01)
    before = process._resident()
    # Those of one size are kept, so that the heap can't shrink from its end; glibc maps larger ones by themselves.
    large = [bytes(100_000 if number % 10 else 30_000) for number in range(2_000)]
    kept = large[::10]
    del large
    assert process._resident() - before > 100 * MIB
    async with asyncio.timeout(60):
        while process._resident() - before > 40 * MIB:
            await asyncio.sleep(0.02)
    returning.cancel()
    assert len(kept) == 200
asyncio.run(main())
"""


@pytest.mark.processes
def test_what_many_large_objects_leave_between_small_ones_is_given_back() -> None:
    run = subprocess.run([sys.executable, "-c", _LARGE_BETWEEN_SMALL], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr


async def test_cycles_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries leave some with every insert, and the thresholds of collections are high."""

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    monkeypatch.setattr(process, "_TRIM_S", 0.01)
    with collecting_nothing():
        left = weakref.ref(Cycle())
        assert left() is not None
        returning = asyncio.create_task(process.return_freed_memory())
        async with asyncio.timeout(60):
            while left() is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        returning.cancel()


def test_pages_of_mapped_files_do_not_count_as_memory_to_give_back(tmp_path: Path) -> None:
    file = tmp_path / "mapped"
    file.write_bytes(bytes(64 * MIB))
    before = process._resident()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        assert process._resident() - before < 32 * MIB

"""How much memory a process may use, by the files of its control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.process import memory_limit

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

"""A control group of the kernel with a limit on memory, for one process that a test starts."""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def limited(mib: int) -> Iterator[Path | None]:
    """Make a group below this process's own, and remove it at the end; yields None where none can be made.

    Only the group's memory is limited: its processes stay within the limits of the group above it.
    """
    found = _made(mib)
    try:
        yield found
    finally:
        if found is not None:
            with contextlib.suppress(OSError):  # a process in it that was not waited for
                found.rmdir()


def _made(mib: int) -> Path | None:
    for controllers, directory, limit in (
        (b"memory", _ROOT / "memory", "memory.limit_in_bytes"),
        (b"", _ROOT, "memory.max"),
    ):
        for line in Path("/proc/self/cgroup").read_bytes().splitlines():
            _, names, path = line.split(b":", 2)
            if controllers not in names.split(b","):
                continue
            group = directory / os.fsdecode(path).lstrip("/") / f"hitline-{uuid.uuid4().hex[:8]}"
            try:
                group.mkdir()
            except OSError:
                continue
            try:
                (group / limit).write_text(str(mib << 20))
            except OSError:
                group.rmdir()
            else:
                return group
    return None


def wrapped(group: Path | None, module: str) -> list[str]:
    """Return the command that runs a module's process within the group, if there is one."""
    command = [sys.executable, "-m", module]
    if group is None:
        return command
    return ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command]

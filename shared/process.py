"""Setting up a Hitline process."""

from __future__ import annotations

import gc
import os
import resource
from pathlib import Path
from typing import Final

#: Where a container's limit is: cgroup v2 and v1 (kernel documentation, "Control Group v2", memory.max).
_MEMORY_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_FILES: Final = 4096


def harden(files: int = _FILES) -> None:
    """Keep memory off the disk and files private, and allow as many open files as the process needs.

    A core dump would hold visitors' addresses and queue keys unencrypted.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files if most == resource.RLIM_INFINITY else min(files, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def memory_limit(limits: tuple[Path, ...] = _MEMORY_LIMITS) -> int:
    """Return the bytes of memory that this process may use: its container's limit, else the machine's memory."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in limits:
        try:
            return min(machine, int(path.read_text()))
        except (OSError, ValueError):  # no such file; or "max"
            continue
    return machine


def settle_garbage_collector() -> None:
    """Call once everything is loaded: objects that exist by then stay alive and need not be scanned again.

    Rows are tuples without cycles, so collections only cost time: with Python's defaults, a third of a worker's.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)

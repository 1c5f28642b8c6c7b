"""Setting up a Hitline process."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN_GROUPS: Final = Path("/proc/self/cgroup")
_FILES: Final = 4096
#: How often unused memory is looked for, and how much of it may stay for what comes next.
_TRIM_S: Final = 10.0
#: Looking takes no more than this part of the time: with ten thousand connections, there is a lot to look at.
_PART_OF_TIME: Final = 1 / 500
_KEPT_BYTES: Final = 8 * 1024 * 1024


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


def memory_limit(groups: Path = _GROUPS, own: Path = _OWN_GROUPS) -> int:
    """Return the bytes of memory that this process may use: the least limit of its control groups, else the machine's.

    A container sees its own group as the root; a unit of systemd is in a group below it, whose parents have limits too.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in _limit_files(groups, own):
        with contextlib.suppress(OSError, ValueError):  # no such file; or "max"
            limits.append(int(file.read_text()))
    return min(limits)


def _limit_files(groups: Path, own: Path) -> Iterator[Path]:
    """Yield where limits may be: cgroup v2's memory.max and v1's (kernel documentation, "Control Group v2")."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    paths = [line.split(":", 2)[1:] for line in lines if line.count(":") >= 2]
    for controllers, path in [("", "/"), ("memory", "/"), *paths]:
        if controllers == "":
            root, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        yield from (root / above / name for above in (group, *group.parents))


def settle_garbage_collector() -> None:
    """Call once everything is loaded: objects that exist by then stay alive and need not be scanned again.

    Rows are tuples without cycles, so collections only cost time: with Python's defaults, a third of a worker's.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


async def return_freed_memory() -> None:
    """Give memory back to the system that is not used any more, now and then, until cancelled.

    With the thresholds of `settle_garbage_collector`, cycles that libraries leave (clickhouse-connect one an insert,
    with its block) would pile up.  glibc keeps what large bodies have left between smaller objects.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    least = _resident()
    while True:
        await asyncio.sleep(max(_TRIM_S, _seconds_of(gc.collect) / _PART_OF_TIME))
        if trim and _resident() > least + _KEPT_BYTES:
            trim(0)
        least = min(least, _resident())


def _seconds_of(call: Callable[[], object]) -> float:
    began = time.thread_time()  # not how long it waited for a processor that others use
    call()
    return time.thread_time() - began


def _resident() -> int:
    """Return the bytes of memory that are in use, without pages of files: the registry's copy is mapped."""
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

"""What every Hitline process does first."""

from __future__ import annotations

import gc
import os
import resource


def harden() -> None:
    """Keep memory off the disk, files private, and allow as many connections as the system lets this process have.

    A core dump would hold visitors' addresses and queue keys in clear text.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def settle_garbage_collector() -> None:
    """Call once everything is loaded: what is there by then stays, and is not worth looking at again and again.

    Rows are tuples without cycles, so collections are pure cost: at Python's defaults a third of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)

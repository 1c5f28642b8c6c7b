"""What every Hitline process does first."""

from __future__ import annotations

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

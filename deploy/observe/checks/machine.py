"""The machine and its files: the state directory, room on its disk, file descriptors."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from deploy.observe.context import Context
from deploy.observe.finding import Finding, error, warning

_PART: Final = "machine"
_LEAST_FREE: Final = 200 << 20
#: A gateway needs one for each connection; systemd's and most distributions' default is 1,024.
_FEW_FILES: Final = 4_096


async def check(context: Context) -> AsyncIterator[Finding]:
    """Yield what is wrong with this machine, as seen by this user."""
    if context.state_dir:
        for finding in _state_dir(context.state_dir):
            yield finding
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 < max(soft, hard) < _FEW_FILES:
        problem = f"a process may open {max(soft, hard)} files, so that a gateway has as few connections"
        yield warning(_PART, problem, "raise the limit: LimitNOFILE= in a systemd unit, nofile in limits.conf")


def _state_dir(path: Path) -> Iterator[Finding]:
    cure = f"mkdir -p {path} and give it to the user that runs Hitline, or set HITLINE_STATE_DIR"
    if not path.is_dir():
        problem = "is not a directory" if path.exists() else "does not exist"
        yield error(_PART, f"the state directory {path} {problem}", cure)
        return
    if not os.access(path, os.W_OK | os.X_OK):
        yield error(_PART, f"the state directory {path} can't be written by this user", cure)
    elif path.stat().st_mode & 0o002:
        yield warning(_PART, f"the state directory {path} can be written by every user", f"chmod o-w {path}")
    free = shutil.disk_usage(path).free
    if free < _LEAST_FREE:
        problem = f"{free >> 20} MiB are free for the state directory {path}"
        yield warning(_PART, problem, "make room: the registry's copy and geo databases can't be renewed without")

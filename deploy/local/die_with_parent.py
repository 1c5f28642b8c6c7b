"""Run a command that must not outlive its parent: `python die_with_parent.py PARENT_PID SIGNAL COMMAND...`.

`processes.spawn` executes this file, nothing imports it: a separate process may call prctl and setrlimit safely,
while a hook between fork and exec may not once the parent has threads. It replaces itself with the command, so the
process id stays the same. It imports little, since it runs before every process of the stack.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; survives execve


def main() -> None:
    """Tie this process to its parent, forbid core files, and become the command."""
    parent, signal_number, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    # A core file puts memory, with visitors' addresses and keys, on the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above, so no signal will come
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()

"""Runs a command that must not outlive its parent: `python leash.py PARENT_PID SIGNAL COMMAND...`.

Executed as a file by `processes.spawn`, never imported: a process of its own may call prctl and setrlimit
safely, where a hook between fork and exec may not once the parent has threads. It replaces itself with the
command, so the process id stays. Little is imported, since this runs before every process of the stack.
"""

import ctypes
import os
import resource
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; survives execve


def main() -> None:
    """Ties this process to its parent, forbids core files, and becomes the command."""
    parent, signal_number, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    # A core file is memory on disk, and memory holds visitors' addresses and keys.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above: no signal will come
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()

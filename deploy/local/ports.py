"""TCP ports on the loopback address: find a free one, detect a taken one."""

from __future__ import annotations

import random
import socket
import time
from collections import deque

LOOPBACK = "127.0.0.1"

# Below the kernel's ephemeral range (Linux: 32768 and up): any outgoing connection can take a port of that range
# while a node restarts, and a client that retries may even connect to itself.
_CHOICE = range(20000, 32000)


#: What keeps the last ports of `free_port` from other processes until this one ends, or has asked for many more.
_claims: deque[socket.socket] = deque(maxlen=100)


def is_taken(port: int, host: str = LOOPBACK) -> bool:
    """Return whether the port can't be bound: something listens on it, or another user's socket holds it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection in TIME_WAIT does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def free_port(avoid: set[int] | None = None) -> int:
    """Return a port that is free now, outside the ephemeral range and not in `avoid`. Raises RuntimeError.

    No other process that asks here gets it: what will listen on it may start, or restart, much later.
    """
    for port in random.sample(_CHOICE, 1000):
        if port not in (avoid or ()) and not is_taken(port) and _claimed(port):
            return port
    raise RuntimeError("found no free port between 20000 and 32000: close some of the listening processes")


def wait_until_free(port: int, timeout_s: float) -> bool:
    """Wait for a port that a stopping process still holds; return whether it became free in time."""
    deadline = time.monotonic() + timeout_s
    while is_taken(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _claimed(port: int) -> bool:
    """Claim a port by a name in the kernel that ends with this process, so that nothing is left to clean up."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0hitline-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True

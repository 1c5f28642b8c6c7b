"""TCP ports on the loopback address: free ones to take, taken ones to name."""

import random
import socket
import time

LOOPBACK = "127.0.0.1"

# Below the kernel's range for outgoing connections (Linux: 32768 and up): a port from within it can be taken
# by anybody's outgoing connection while a node restarts, and a client that retries may connect to itself.
_CHOICE = range(20000, 32000)


def is_taken(port: int, host: str = LOOPBACK) -> bool:
    """Whether something listens on the port, or another user's socket keeps it from being bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: a connection in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def free_port(avoid: set[int] | None = None) -> int:
    """A port nobody listens on now, outside the range of outgoing connections, and not in `avoid`."""
    for port in random.sample(_CHOICE, 1000):
        if port not in (avoid or ()) and not is_taken(port):
            return port
    raise RuntimeError("found no free port between 20000 and 32000: close some of the listening processes")


def wait_until_free(port: int, timeout_s: float) -> bool:
    """Whether the port became free within the time; for a predecessor that is still going away."""
    deadline = time.monotonic() + timeout_s
    while is_taken(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True

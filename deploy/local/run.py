"""`make run`: everything on this machine, until Ctrl-C. `python -m deploy.local.run [DIRECTORY]`

DIRECTORY, `.local` by default, has all data, logs and secrets; two of them can run side by side on different ports.
Exit codes: 0 stopped by the user, 1 something failed or died, 2 something on this machine prevents the start.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from deploy.local import processes
from deploy.local.failure import SetupError
from deploy.local.services import ROOT, ServiceError
from deploy.local.stack import Stack
from deploy.local.welcome import welcome

_PR_SET_PDEATHSIG = 1


class _Stopped(BaseException):
    """The user wants it to stop; raised by the signal handler."""


def main() -> int:
    """Run the stack of this working copy; return the exit code."""
    # A terminal that can't display a character must not end the stack.
    sys.stdout.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]
    _follow_make()
    # A core file would put memory with addresses and keys on the disk; children inherit the limit.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)  # data and logs are for this user only
    directory = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / ".local"
    try:
        _make_private(directory)
        with _only_one(directory / "lock"):
            return _run(Stack(directory, os.environ, say))
    except SetupError as error:
        return _complain(error, 2)


def say(line: str) -> None:
    """Print a line for the user; a closed terminal must not prevent an orderly stop."""
    with contextlib.suppress(OSError):
        print(f"hitline: {line}")


def _run(stack: Stack) -> int:
    signals = _Signals()
    code = 0
    try:
        stack.start()
        print(welcome(stack))
        stack.watch()
    except _Stopped:
        pass
    except SetupError as error:
        code = _complain(error, 2)
    except (ServiceError, RuntimeError, OSError) as error:
        code = _complain(error, 1)
    finally:
        signals.stopping = True
        if code != 2:
            say("stopping (press Ctrl-C again to stop at once) ...")
        stack.stop()
        if code != 2:
            say(f"stopped; the data are kept in {stack.directory.name}/")
    return code


def _complain(error: Exception, code: int) -> int:
    for line in str(error).splitlines():
        print(f"hitline: {line}", file=sys.stderr)
    return code


class _Signals:
    """The first signal raises _Stopped; a further one while it is `stopping` ends every grace period."""

    def __init__(self) -> None:
        self.stopping = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.stopping:
            processes.hurry_up()
        else:
            self.stopping = True
            raise _Stopped


def _make_private(directory: Path) -> None:
    """Make the directory, for this user only; raises SetupError when that is not possible."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"can't create {directory}: {error.strerror}") from None
    if os.geteuid():  # root may write everywhere
        refuse_foreign(directory, os.geteuid())
    directory.chmod(0o700)


def refuse_foreign(directory: Path, user: int) -> None:
    """Raise SetupError for files of another user than `user` (an id), such as `sudo make run` leaves."""
    for path in (directory, *directory.glob("*"), *directory.glob("*/*")):
        with contextlib.suppress(FileNotFoundError):
            if (owner := path.lstat().st_uid) != user:
                raise SetupError(
                    f"{path} belongs to another user ({'root' if owner == 0 else owner}), who ran make run here: "
                    f"take it back with `sudo chown -R {user} {shlex.quote(str(directory))}`"
                )


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold the directory's lock: two stacks in one directory would corrupt each other's data."""
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise SetupError(
                f"make run is already running here (process {file.read().strip()}): stop it first"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _follow_make() -> None:
    """Under make, stop when make ends: after that, nothing passes a Ctrl-C on."""
    if "MAKELEVEL" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())

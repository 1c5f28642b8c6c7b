"""`python -m deploy.local.clickhouse --path DIR --port N`: ClickHouse on a loopback port, until SIGTERM."""

from __future__ import annotations

import argparse
import fcntl
import os
import resource
import shutil
import sys
from pathlib import Path

from deploy.local.clickhouse import sandbox

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# One user, `default`, whose password is in CLICKHOUSE_PASSWORD.
_USERS = Path(__file__).with_name("users.xml")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.clickhouse", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="data directory; one process at a time")
    parser.add_argument("--port", type=int, default=8123, help="0 picks a free one (default: 8123)")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--config-file", type=Path, default=_USERS, help="ClickHouse configuration with users")
    parser.add_argument("--port-setting", default="--port", help="the setting to name when the port is taken")
    parser.add_argument("--max-connections", type=int, default=32, help="queries side by side (default: 32)")
    parser.add_argument("--max-body-bytes", type=int, default=1 << 30, help="largest body (default: 1 GiB)")
    parser.add_argument("--max-memory-bytes", type=int, help="of all queries (default: half of this machine's)")
    parser.add_argument("--drain-seconds", type=float, default=20.0, help="how long SIGTERM waits for queries")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="of every query")
    parser.add_argument("--stop-on-eof", action="store_true", help="stop when stdin ends")
    return parser.parse_args()


def fail(line: str) -> int:
    """Print why it can't start; return the exit code."""
    print(line, file=sys.stderr, flush=True)
    return 2


def _make_temporary_directory(path: Path) -> None:
    """Have the engine's temporary files below the data directory, without those of a start that was killed."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True)
    os.environ["TMPDIR"] = str(path)


def main() -> int:
    """Run until a signal; return the exit code (2: it can't start, and one line says why)."""
    options = _arguments()
    if options.host not in _LOOPBACK:
        return fail(f"--host {options.host}: this server is for this machine only, use 127.0.0.1")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain visitors' data
    options.path.mkdir(parents=True, exist_ok=True)
    with (options.path / "in-use.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return fail(f"{options.path} is in use by another process")
        _make_temporary_directory(options.path.resolve() / "front" / "tmp")
        sandbox.enter(options.path.resolve(), options.port, readable=[options.config_file.resolve().parent])
        os.environ["CLICKHOUSE_CONNECT_USE_C"] = "0"  # native_protocol.py has to see where its reader is
        # Only now: it starts threads, which would stay outside the sandbox.
        from deploy.local.clickhouse import serve

        return serve.run(options)


if __name__ == "__main__":
    sys.exit(main())

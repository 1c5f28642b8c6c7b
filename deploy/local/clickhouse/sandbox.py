"""Keeps the embedded ClickHouse's process to its own files, with Landlock (Linux 5.13; TCP since 6.7).

Grants keep users from files and addresses; chDB has ways around them (a scalar function that reads files, dictionaries
that run commands). So the kernel refuses this process everything but its data directory and what Python and the engine
read, every program, and every connection to elsewhere. Where the kernel has no Landlock, grants and `refusals` remain.
The numbers are those of linux/landlock.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import mimetypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL = 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_READ = _READ_FILE | _READ_DIR
# What a kernel of each ABI can refuse: execution, reading, writing, creating, removing; renames (2), truncation (3).
_FILES_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_ONLY_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_BIND_TCP, _CONNECT_TCP = 1, 2
_ABI_TCP = 4

# /proc/PID/environ of other processes stays closed: Landlock forbids tracing them, which that needs.
_READABLE = (
    *("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
    *("/etc/localtime", "/etc/timezone", "/etc/ld.so.cache", "/etc/os-release", "/etc/ssl/openssl.cnf"),
    *("/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/gai.conf"),
    *mimetypes.knownfiles,  # which aiohttp reads
)
_ROOT = Path(__file__).parents[3]  # only listed, as imports do: .local/ is in it
_CODE = (_ROOT / "deploy", _ROOT / "shared")


def enter(data: Path, port: int, readable: Iterable[Path] = ()) -> bool:
    """Restrict this process for good; return False where the kernel has no Landlock.

    `data`: a directory to read and write. `port`: to listen on; 0: any. `readable`: more paths to read.
    To be called while there is one thread: threads that run already would stay unrestricted.
    """
    if not (abi := version()):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    files = max(bits for since, bits in _FILES_BY_ABI.items() if since <= abi)
    ports = _BIND_TCP | _CONNECT_TCP if abi >= _ABI_TCP else 0
    attributes = struct.pack("=QQ", files, ports)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes) if ports else 8, 0)
    if ruleset < 0:
        return False
    try:
        _allow_paths(libc, ruleset, files, data, readable)
        if ports:
            _add_rule(libc, ruleset, _NET_PORT, struct.pack("=QQ", _BIND_TCP, port))
        # Without it, restricting oneself needs a privilege.
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def version() -> int:
    """Return the kernel's version of Landlock; 0: it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _VERSION)))


def _allow_paths(libc: ctypes.CDLL, ruleset: int, files: int, data: Path, readable: Iterable[Path]) -> None:
    execute = 1
    allowed = [(data, files & ~execute), (Path("/dev/null"), _WRITE_FILE | _READ_FILE)]
    allowed.append((_ROOT, _READ_DIR))
    code = (*_CODE, Path(sys.prefix), Path(sys.base_prefix))
    allowed += [(path, _READ) for path in (*map(Path, _READABLE), *code, *readable)]
    for path, access in allowed:
        with contextlib.suppress(FileNotFoundError, PermissionError):
            _allow_path(libc, ruleset, path, access & files)


def _allow_path(libc: ctypes.CDLL, ruleset: int, path: Path, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not path.is_dir():
            access &= _ONLY_FILES
        _add_rule(libc, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, descriptor))
    finally:
        os.close(descriptor)


def _add_rule(libc: ctypes.CDLL, ruleset: int, kind: int, attributes: bytes) -> None:
    """Raise OSError where the kernel does not take a rule."""
    if libc.syscall(_ADD_RULE, ruleset, kind, attributes, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"landlock_add_rule: {os.strerror(number)}")

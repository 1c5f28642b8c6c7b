"""Gives the embedded engine what a server sets when it starts, and clickhouse-local, as which chDB starts, never does.

The address under which other replicas fetch its parts (`interserver_http_port`): without it, a replicated table stays
readonly ("Parameter 'interserver_http(s)_port' required for replication is not specified").  The scheme of that
address, and credentials (none), without which the first fetch ends the process.  The instructions that raise the error
are replaced, in this process's memory only, by some that set all of it and return 127.0.0.1 and a port.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import struct
from pathlib import Path

import chdb

#: Context::getInterserverIOAddress of 26.9 on x86-64: the way to the error, and where the port is in ContextSharedPart.
#: Behind the port follow the scheme, a string, and the credentials, a MultiVersion.
_CODE = re.compile(
    rb"\x41\x56\x53\x48\x83\xec\x48\x4c\x8b\x36\x49\x0f\xbe\x8e..\x00\x00\x48\x85\xc9\x49\x8b\x96..\x00\x00\x48\x89\xc8"
    rb"\x48\x0f\x48\xc2\x48\x85\xc0\x74(.)\x41\x0f\xb7\x86(..)\x00\x00",
    re.DOTALL,
)


def set_interserver_port(port: int) -> bool:
    """Return whether the engine could be told; False for another build of it."""
    library = next(Path(chdb.__file__).parent.glob("_chdb*.so"))
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = _CODE.search(content)
        if found is None:
            return False
        at = found.end(1) + found[1][0]
        port_at = int.from_bytes(found[2], "little")
    with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        memory.seek(_address_of(library, at))
        memory.write(_setting(port_at) + _returning(port))
    return True


def _address_of(library: Path, offset: int) -> int:
    """Return where an offset of the file is in this process's memory."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split()
        if len(fields) > 5 and Path(fields[5]) == library.resolve() and "x" in fields[1]:
            start, end = (int(each, 16) for each in fields[0].split("-"))
            first = int(fields[2], 16)
            if first <= offset < first + end - start:
                return start + offset - first
    raise RuntimeError("the engine is not loaded")


#: Empty strings for user and password.
_CREDENTIALS = ctypes.create_string_buffer(256)


def _setting(port_at: int) -> bytes:
    """Return instructions that set scheme and credentials in the context at r14."""
    scheme, credentials = port_at + 8, port_at + 0x48
    code = b"\x41\xc7\x86" + struct.pack("<I4s", scheme, b"http")  # mov dword [r14 + n], "http"
    code += b"\x41\xc6\x86" + struct.pack("<IB", scheme + 23, 4)  # mov byte [r14 + n], 4: the string's length
    code += b"\x48\xb8" + struct.pack("<Q", ctypes.addressof(_CREDENTIALS))  # mov rax, address
    return code + b"\x49\x89\x86" + struct.pack("<I", credentials)  # mov [r14 + n], rax


def _returning(port: int) -> bytes:
    """Return instructions that fill `std::pair<String, UInt16>` at rdi, and leave the function."""
    text = b"127.0.0.1".ljust(16, b"\0")
    store = b"\x48\x89\x47"  # mov [rdi + n], rax
    words = (text[:8], text[8:], b"\0" * 7 + bytes([9]))  # a short string of libc++: 23 bytes and its length
    code = b"".join(b"\x48\xb8" + word + store + bytes([8 * number]) for number, word in enumerate(words))
    code += b"\x66\xc7\x47\x18" + struct.pack("<H", port)  # mov word [rdi + 24], port
    return code + b"\x48\x89\xf8\x48\x83\xc4\x48\x5b\x41\x5e\xc3"  # mov rax, rdi; and what the function ends with

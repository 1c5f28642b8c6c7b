from __future__ import annotations

from tests.worker.factories import CITY_RECORDS, pageview, write_database
from worker.lookups.geo import Geo
from worker.lookups.geo_records import NOWHERE
from worker.steps.put_location import put_location


def test_locates_the_visitor_if_there_is_a_database(tmp_path):
    path = tmp_path / "city.mmdb"
    geo = Geo({"city": path}, tmp_path)
    assert put_location(geo, pageview()) == NOWHERE
    write_database(path, CITY_RECORDS)
    geo.refresh()
    assert put_location(geo, pageview())[:3] == ("GB", "England", "London")

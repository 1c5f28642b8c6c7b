"""`hitline site`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.cli import main
from deploy.local.clickhouse.process import ClickHouseProcess
from tests.deploy.cli.conftest import Hitline
from tests.parts import execute


def sites(hitline: Hitline) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(hitline("site", "list", "--json").stdout)
    return found


def test_names_and_aliases_are_normalised(hitline: Hitline) -> None:
    hitline("site", "add", "WWW.Example.COM.", "--hostname", "Bücher.example", "--hostname", "*.Example.com")
    (site,) = sites(hitline)
    assert site["name"] == "example.com"
    assert site["hostnames"] == ["example.com", "xn--bcher-kva.example", "*.example.com"]


def test_a_wildcard_keeps_its_www(hitline: Hitline) -> None:
    hitline("site", "add", "*.www.example.com")
    assert sites(hitline)[0]["hostnames"] == ["*.www.example.com"]


@pytest.mark.parametrize(
    ("hostname", "warned"),
    [("*.com", True), ("*.co.uk", True), ("*.xn--p1ai", True), ("*.example.co.uk", False), ("co.uk", False)],
)
def test_a_wildcard_over_a_public_suffix_is_warned_of(hitline: Hitline, hostname: str, warned: bool) -> None:
    said = hitline("site", "add", "example.com", "--hostname", hostname).stderr
    assert (f"{hostname} is every domain under a public suffix" in said) is warned
    assert hostname in sites(hitline)[0]["hostnames"]


def test_the_same_hostname_twice_is_stored_once(hitline: Hitline) -> None:
    hitline("site", "add", "example.com", "--hostname", "www.example.com")
    assert sites(hitline)[0]["hostnames"] == ["example.com"]


def test_time_zone_and_retention_are_stored(hitline: Hitline) -> None:
    hitline("site", "add", "example.com", "--timezone", "Europe/Berlin", "--retention-days", "30")
    assert (sites(hitline)[0]["timezone"], sites(hitline)[0]["retention_days"]) == ("Europe/Berlin", 30)


def test_an_unknown_time_zone_is_an_error(hitline: Hitline) -> None:
    assert "Mars/Base" in hitline("site", "add", "example.com", "--timezone", "Mars/Base", expect=1).stderr
    assert sites(hitline) == []


def test_an_invalid_hostname_is_an_error(hitline: Hitline) -> None:
    for text in ("https://example.com/", "example.com:8080", "exa mple", "*example.com", "a.*.example.com", "", "'"):
        assert "is not a valid" in hitline("site", "add", "--", text, expect=1).stderr
    assert sites(hitline) == []


def test_a_site_that_exists_is_not_added_again(hitline: Hitline, tables: ClickHouseProcess) -> None:
    hitline("site", "add", "example.com")
    assert "exists already" in hitline("site", "add", "www.example.com", expect=1).stderr
    assert execute(tables, "SELECT count() FROM hitline_control.sites").strip() == "1"


def test_a_site_whose_name_is_an_alias_of_another_is_refused(hitline: Hitline) -> None:
    hitline("site", "add", "example.com", "--hostname", "example.org")
    assert "site example.com, which keeps it" in hitline("site", "add", "example.org", expect=1).stderr


def test_an_alias_of_an_older_site_stays_there_with_a_warning(hitline: Hitline) -> None:
    hitline("site", "add", "example.com", "--hostname", "shop.example")
    added = hitline("site", "add", "example.org", "--hostname", "shop.example")
    assert "hostname shop.example stays with site example.com" in added.stderr
    assert len(sites(hitline)) == 2


def test_a_removed_site_can_be_added_again(hitline: Hitline) -> None:
    hitline("site", "add", "example.com")
    (old,) = sites(hitline)
    hitline("site", "remove", "www.EXAMPLE.com")
    assert sites(hitline) == []
    hitline("site", "add", "example.com")
    assert sites(hitline)[0]["site_id"] != old["site_id"]


def test_a_site_is_removed_by_its_name_only(hitline: Hitline) -> None:
    hitline("site", "add", "example.com", "--hostname", "example.org")
    assert "is a hostname of site example.com" in hitline("site", "remove", "example.org", expect=1).stderr
    assert "there is no site" in hitline("site", "remove", "example.net", expect=1).stderr


def test_of_two_added_at_the_same_time_the_older_stays(hitline: Hitline, tables: ClickHouseProcess) -> None:
    """What the second one finds when the first was written after it looked."""
    from shared.registry import store

    looked = store.sites_named
    calls = 0

    async def blind_at_first(clickhouse: Any, names: Any) -> Any:
        nonlocal calls
        calls += 1
        return [] if calls == 1 else await looked(clickhouse, names)

    hitline("site", "add", "example.com")
    store.sites_named = blind_at_first
    try:
        assert "exists already" in hitline("site", "add", "example.com", expect=1).stderr
    finally:
        store.sites_named = looked
    assert len(sites(hitline)) == 1


def test_a_change_is_newer_than_all_rows_even_when_the_clock_was_set_back(
    hitline: Hitline, tables: ClickHouseProcess
) -> None:
    ahead = 4_000_000_000_000_000
    execute(
        tables,
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, created_at, version)"
        f" VALUES ('00000000-0000-0000-0000-000000000001', 'ahead.example', ['ahead.example'], now64(6), {ahead})",
    )
    hitline("site", "remove", "ahead.example")
    assert sites(hitline) == []
    assert 0 < int(execute(tables, "SELECT max(version) FROM hitline_control.sites")) - ahead <= 1_000


def test_an_empty_list_says_how_to_begin(hitline: Hitline) -> None:
    assert "hitline site add" in hitline("site", "list").stderr


def test_a_retention_that_would_wrap_is_refused() -> None:
    refused = CliRunner().invoke(main, ["site", "add", "example.com", "--retention-days", "4294967297"])
    assert refused.exit_code == 2
    assert "0<=x<=36500" in refused.output


def test_removing_a_site_names_the_new_owners_of_its_hostnames(hitline: Hitline) -> None:
    hitline("site", "add", "shop.example.com", "--hostname", "shop.example")
    hitline("site", "add", "example.com", "--hostname", "*.example.com", "--hostname", "shop.example")
    output = hitline("site", "remove", "shop.example.com").stderr
    assert "hostname shop.example.com now belongs to site example.com" in output
    assert "hostname shop.example now belongs to site example.com" in output
    assert hitline("site", "remove", "example.com").stderr == ""


def test_a_change_keeps_the_id_and_everything_not_given(hitline: Hitline) -> None:
    hitline("site", "add", "example.com", "--hostname", "old.example", "--timezone", "Europe/Berlin")
    (before,) = sites(hitline)
    output = hitline("site", "change", "example.com", "--hostname", "WWW.New.example", "--without", "old.example")
    hitline("site", "change", "www.example.com", "--retention-days", "90")
    assert output.stdout == "site example.com: example.com, new.example; Europe/Berlin; retention: the instance's\n"
    assert sites(hitline) == [before | {"hostnames": ["example.com", "new.example"], "retention_days": 90}]
    hitline("site", "change", "example.com", "--timezone", "UTC")
    assert sites(hitline)[0]["timezone"] == "UTC"


def test_an_invalid_change_is_an_error_and_changes_nothing(hitline: Hitline) -> None:
    hitline("site", "add", "example.com", "--hostname", "example.org")
    before = sites(hitline)
    for options, message in (
        (["--without", "example.com"], "is the site's name"),
        (["--without", "example.net"], "site example.com has no hostname example.net"),
        (["--timezone", "Mars/Base"], "unknown time zone 'Mars/Base'"),
        (["--hostname", "no host"], "is not a valid"),
    ):
        assert message in hitline("site", "change", "example.com", *options, expect=1).stderr
    assert "nothing to change" in hitline("site", "change", "example.com", expect=1).stderr
    assert (
        "is a hostname of site example.com"
        in hitline("site", "change", "example.org", "--timezone", "UTC", expect=1).stderr
    )
    assert sites(hitline) == before


def test_a_change_names_current_and_new_owners_of_hostnames(hitline: Hitline) -> None:
    hitline("site", "add", "example.com", "--hostname", "*.example.com")
    hitline("site", "add", "example.org", "--hostname", "shop.example.com")
    assert (
        "now belongs to site example.com"
        in hitline("site", "change", "example.org", "--without", "shop.example.com").stderr
    )
    assert (
        "stays with site example.com" in hitline("site", "change", "example.org", "--hostname", "*.example.com").stderr
    )


def options_of(hitline: Hitline) -> dict[str, Any]:
    names = ("query_keep", "query_drop", "hash_paths", "sessions")
    return {name: sites(hitline)[0][name] for name in names}


OFF = {"query_keep": [], "query_drop": [], "hash_paths": False, "sessions": "sent"}


def test_options_are_off_until_they_are_given(hitline: Hitline) -> None:
    hitline("site", "add", "example.com")
    assert options_of(hitline) == OFF
    said = hitline(
        *(
            "site",
            "change",
            "example.com",
            "--query-keep",
            "Page",
            "--query-keep",
            "filter*",
            "--query-drop",
            "*Token*",
        ),
        *("--hash-paths", "--sessions", "derived"),
    ).stdout
    assert "only page, filter*; query: without *token*; fragments are paths; sessions derived" in said
    all_on = {"query_keep": ["page", "filter*"], "query_drop": ["*token*"], "hash_paths": True, "sessions": "derived"}
    assert options_of(hitline) == all_on
    assert "sessions derived" in hitline("site", "list").stdout
    hitline("site", "change", "example.com", "--retention-days", "5")
    assert options_of(hitline) == all_on, "what is not given stays"
    hitline(
        *("site", "change", "example.com", "--query-keep", "", "--query-drop", ""),
        *("--no-hash-paths", "--sessions", "sent"),
    )
    assert options_of(hitline) == OFF


def test_a_site_is_added_with_options(hitline: Hitline) -> None:
    said = hitline("site", "add", "example.com", "--sessions", "derived", "--query-drop", "sid").stdout
    assert said == "site example.com added: example.com; query: without sid; sessions derived\n"
    assert options_of(hitline) == {**OFF, "query_drop": ["sid"], "sessions": "derived"}


def test_a_pattern_that_names_no_parameter_is_an_error(hitline: Hitline) -> None:
    for text in ("a=1", "a&b", "x" * 201):
        assert "--query-drop" in hitline("site", "add", "example.com", "--query-drop", text, expect=1).stderr
    assert sites(hitline) == []

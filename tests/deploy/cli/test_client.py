"""`hitline client`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.registry import token_hash
from tests.deploy.cli.conftest import Hitline
from tests.parts import execute


def clients(hitline: Hitline) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(hitline("client", "list", "--json").stdout)
    return found


def granted(hitline: Hitline) -> list[str]:
    return sorted(grant["site"] for grant in clients(hitline)[0]["grants"])


@pytest.fixture(autouse=True)
def _site(hitline: Hitline) -> None:
    hitline("site", "add", "example.com", "--hostname", "*.example.com")


def test_the_token_is_printed_once_and_only_its_hash_is_stored(hitline: Hitline, tables: ClickHouseProcess) -> None:
    token = hitline("client", "add", "edge", "--grant", "example.com").stdout.strip()
    assert token.startswith("hl_")
    assert len(token) >= 3 + 43, "256 bits in base64"
    stored = execute(tables, "SELECT * FROM hitline_control.clients FORMAT TSV")
    assert token not in stored
    assert token_hash(token) in stored
    assert token not in hitline("client", "list").output


def test_a_script_gets_the_token_as_json(hitline: Hitline) -> None:
    added = json.loads(hitline("client", "add", "edge", "--grant", "*", "--json").stdout)
    assert added["token"].startswith("hl_")
    assert added["name"] == "edge"


def test_grants_name_a_site_by_any_of_its_hostnames(hitline: Hitline, tables: ClickHouseProcess) -> None:
    hitline("client", "add", "edge", "--grant", "*.example.com", "--grant", "WWW.example.com")
    assert granted(hitline) == ["example.com"]


def test_a_grant_on_an_unknown_site_is_an_error(hitline: Hitline) -> None:
    refused = hitline("client", "add", "edge", "--grant", "example.net", expect=1)
    assert "there is no site with the hostname example.net" in refused.stderr
    assert clients(hitline) == []


def test_a_grant_is_added(hitline: Hitline) -> None:
    hitline("site", "add", "example.org")
    hitline("client", "add", "edge", "--grant", "example.com")
    hitline("client", "grant", "edge", "--grant", "example.org", "--grant", "example.com")
    assert granted(hitline) == ["example.com", "example.org"]
    hitline("client", "grant", "edge", "--grant", "*")
    assert granted(hitline) == ["*", "example.com", "example.org"]


def test_a_removed_sites_grants_end_with_it(hitline: Hitline) -> None:
    hitline("client", "add", "edge", "--grant", "example.com")
    hitline("site", "remove", "example.com")
    hitline("site", "add", "example.com")
    assert granted(hitline) == []


def test_a_client_that_exists_is_not_added_again(hitline: Hitline) -> None:
    hitline("client", "add", "edge", "--grant", "*")
    assert "exists already" in hitline("client", "add", "edge", "--grant", "*", expect=1).stderr
    assert len(clients(hitline)) == 1


@pytest.mark.parametrize("command", ["revoke", "remove"])
def test_a_revoked_client_is_gone(hitline: Hitline, command: str) -> None:
    hitline("client", "add", "edge", "--grant", "*")
    hitline("client", command, "edge")
    assert clients(hitline) == []
    assert "there is no client" in hitline("client", command, "edge", expect=1).stderr


def test_the_rate_limit_is_stored_changed_and_given_back(hitline: Hitline) -> None:
    hitline("client", "add", "edge", "--grant", "*", "--rate", "600/second")
    assert clients(hitline)[0]["rate"] == "600/second"
    hitline("client", "limit", "edge", "--rate", "20/minute")
    assert clients(hitline)[0]["rate"] == "20/minute"
    hitline("client", "limit", "edge", "--rate", "default")
    assert clients(hitline)[0]["rate"] == ""


def test_the_burst_is_stored_changed_and_given_back(hitline: Hitline) -> None:
    hitline("client", "add", "edge", "--grant", "*", "--rate", "20/second", "--burst", "20000")
    assert clients(hitline)[0]["burst"] == 20_000
    hitline("client", "limit", "edge", "--rate", "30/second")
    assert (clients(hitline)[0]["rate"], clients(hitline)[0]["burst"]) == ("30/second", 20_000)
    hitline("client", "limit", "edge", "--burst", "0")
    assert (clients(hitline)[0]["rate"], clients(hitline)[0]["burst"]) == ("30/second", 0)
    assert "--burst" in hitline("client", "limit", "edge", expect=1).stderr


@pytest.mark.parametrize("rate", ["fast", "0/second", "-1/second", "5/fortnight", ""])
def test_an_invalid_rate_is_an_error(hitline: Hitline, rate: str) -> None:
    assert "rate" in hitline("client", "add", "edge", f"--rate={rate}", expect=1).stderr


def test_names_may_hold_quotes_and_other_letters(hitline: Hitline) -> None:
    name = 'édge\'s "2" \\ {x:String} %s'
    hitline("client", "add", name, "--grant", "*")
    assert clients(hitline)[0]["name"] == name
    hitline("client", "revoke", name)


def test_an_empty_name_is_an_error(hitline: Hitline) -> None:
    hitline("client", "add", " ", expect=1)
    hitline("client", "add", "a\nb", expect=1)

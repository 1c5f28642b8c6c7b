"""`hitline exclude`."""

from __future__ import annotations

import json
from typing import Any

from tests.deploy.cli.conftest import Hitline


def rules(hitline: Hitline) -> list[tuple[Any, ...]]:
    found = json.loads(hitline("exclude", "list", "--json").stdout)
    return [(rule["site"], rule["kind"], rule["value"]) for rule in found]


def test_rules_of_all_kinds_for_all_sites_and_for_one(hitline: Hitline) -> None:
    hitline("site", "add", "example.com")
    hitline("exclude", "add", "--cidr", "192.0.2.0/24", "--country", "de")
    hitline("exclude", "add", "--site", "example.com", "--user-agent", "It's a Bot", "--path", "/admin")
    assert rules(hitline) == [
        (None, "cidr", "192.0.2.0/24"),
        (None, "country", "DE"),
        ("example.com", "user_agent", "it's a bot"),
        ("example.com", "path", "/admin"),
    ]


def test_a_rule_that_exists_is_not_added_again(hitline: Hitline) -> None:
    hitline("site", "add", "example.com")
    hitline("exclude", "add", "--country", "DE")
    assert "already" in hitline("exclude", "add", "--path", "/a", "--country", "de", expect=1).stderr
    assert len(rules(hitline)) == 1, "all or none of a command's rules"
    hitline("exclude", "add", "--country", "DE", "--site", "example.com")
    assert len(rules(hitline)) == 2


def test_a_rule_is_removed_by_the_options_that_added_it(hitline: Hitline) -> None:
    hitline("exclude", "add", "--country", "DE", "--path", "/a")
    hitline("exclude", "remove", "--country", "de")
    assert rules(hitline) == [(None, "path", "/a")]
    assert "is not excluded" in hitline("exclude", "remove", "--country", "DE", expect=1).stderr


def test_a_malformed_rule_is_an_error(hitline: Hitline) -> None:
    for option in ("--cidr=192.0.2.0/33", "--country=XX", "--path=admin", "--user-agent= "):
        assert option.split("=")[0] in hitline("exclude", "add", option, expect=1).stderr
    output = hitline("exclude", "add", "--cidr", "192.0.2.0/24", "--cidr", "192.0.2.1/24", expect=1).stderr
    assert "--cidr '192.0.2.1/24' has host bits set" in output, "which of several"
    assert "no rule given" in hitline("exclude", "add", expect=1).stderr


def test_an_unknown_site_is_an_error(hitline: Hitline) -> None:
    assert "there is no site" in hitline("exclude", "add", "--site", "x.example", "--path", "/a", expect=1).stderr


def test_a_removed_sites_rules_end_with_it(hitline: Hitline) -> None:
    hitline("site", "add", "example.com")
    hitline("exclude", "add", "--path", "/a", "--site", "example.com")
    hitline("site", "remove", "example.com")
    assert rules(hitline) == []

"""What changes of the registry do to a copy: whose a hostname becomes, what is forgotten, what fails as a whole."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from shared.pageview import MANAGE_DATA
from shared.registry import Replica
from shared.registry.records import GRANTS, SITES, Change, Client, Exclusion, Grant, Site
from shared.registry.rule_log import RuleLog
from shared.registry.touched import Rule, Touched
from shared.registry.window import Window
from tests.shared.registry.test_replica import an_id, found, put, site

SHARED = "shared.example"


def test_a_site_that_is_opened_again_is_younger_than_those_that_were_there(replica: Replica) -> None:
    """Its name is another's by then, and it does not take it back; nor does a part of what it listed before stay."""
    put(replica, site(1, "one.example", SHARED, created_us=1), site(2, "two.example", SHARED, created_us=2))
    assert found(replica, SHARED) == "one.example"
    put(replica, site(1, "one.example", SHARED, created_us=1, version=2, removed=True))
    assert found(replica, SHARED) == "two.example"
    put(replica, site(1, "one.example", SHARED, created_us=3, version=3))
    assert found(replica, SHARED) == "two.example"
    assert found(replica, "one.example") == "one.example"


@pytest.mark.parametrize(
    ("created_us", "owner"), [(1, "one.example"), (5, "one.example"), (9, "one.example"), (11, "two.example")]
)
def test_since_when_a_site_lists_a_name_follows_the_registry(replica: Replica, created_us: int, owner: str) -> None:
    """As when removed and added between two polls: one change, of another time at which it was created."""
    put(replica, site(1, "one.example", SHARED, created_us=5), site(2, "two.example", SHARED, created_us=10))
    put(replica, site(1, "one.example", SHARED, "more.example", created_us=created_us, version=2))
    assert found(replica, SHARED) == owner
    assert found(replica, "one.example") == found(replica, "more.example") == "one.example"
    put(replica, site(1, "one.example", created_us=created_us, version=3))
    assert found(replica, SHARED) == "two.example"
    assert found(replica, "more.example") is None
    put(replica, site(2, "two.example", created_us=10, version=3))
    assert found(replica, SHARED) is None, "no listing of another time is left"


def test_a_wildcard_is_the_older_site_s_too_and_a_longer_one_goes_before_it(replica: Replica) -> None:
    put(replica, site(1, "*.a.example", created_us=2), site(2, "two.example", "*.a.example", created_us=1))
    assert found(replica, "x.a.example") == "two.example"
    put(replica, site(3, "*.b.a.example", created_us=3))
    assert found(replica, "x.b.a.example") == "*.b.a.example"
    put(replica, site(4, "four.example", "x.b.a.example", created_us=4))
    assert found(replica, "x.b.a.example") == "four.example"
    put(replica, site(4, "four.example", created_us=4, version=2), site(3, "*.b.a.example", version=2, removed=True))
    assert found(replica, "x.b.a.example") == "two.example"


def test_every_kind_of_change_counts(replica: Replica) -> None:
    client, rule = Client(an_id(9), "edge", token_sha256="aa"), Exclusion(an_id(1), "country", "DE")
    changes = [site(1, "example.com"), *(Change(each, 1) for each in (client, Grant(an_id(9), MANAGE_DATA), rule))]
    assert put(replica, *changes) == 4
    assert put(replica, *changes) == 0


def test_more_sites_than_fit_into_a_statement_are_compared(replica: Replica) -> None:
    sites = [site(number, f"s{number}.example") for number in range(1, 1_202)]
    assert put(replica, *sites) == 1_201
    assert put(replica, *sites) == 0
    assert put(replica, *(site(number, f"t{number}.example", version=2) for number in (1, 600, 1_201))) == 3
    assert [found(replica, f"{which}600.example") for which in "st"] == [None, "t600.example"]


@pytest.mark.parametrize("bad", [Site(an_id(2), None, ("b",)), Client(an_id(2), None)])  # type: ignore[arg-type]
def test_changes_that_fail_change_nothing_and_hold_nothing_up(replica: Replica, bad: Site | Client) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        replica.apply([site(1, "example.com"), Change(bad, 1)])
    assert put(replica, site(1, "example.com")) == 1
    assert found(replica, "example.com") == "example.com"


@pytest.mark.parametrize("versions", [[1], [1, 2, 3]])
def test_grants_without_their_versions_are_not_loaded(replica: Replica, versions: list[int]) -> None:
    packed = (an_id(9), MANAGE_DATA, an_id(1) + an_id(2), versions)
    client, one = Client(an_id(9), "edge"), Site(an_id(1), "", ())
    with pytest.raises(ValueError, match="zip"):
        replica.load_grants([packed])
    answers = (lambda: replica.has_grants(client), lambda: replica.may(client, MANAGE_DATA, one))
    assert [answer() for answer in answers] == [False, False]
    new, touched = replica.load_grants([(*packed[:3], [1, 2])])
    replica.refreshed(touched)
    assert new == 2
    assert [answer() for answer in answers] == [True, True], "what was answered before is forgotten"
    assert replica.load_grants([(*packed[:3], [1, 2])]) == (0, Touched())


def test_a_table_is_emptied_with_what_belongs_to_it_and_no_other(replica: Replica) -> None:
    client, one = Client(an_id(9), "edge", token_sha256="aa"), Site(an_id(1), "", ())
    grant = Grant(an_id(9), MANAGE_DATA)
    put(replica, site(1, "example.com"), site(2, "gone.example", version=5, removed=True), Change(client, 1))
    put(replica, Change(grant, 1), Change(Client(an_id(8), "gone"), 5, removed=True))

    replica.clear(SITES.name)
    replica.refreshed(Touched(all=True))
    assert found(replica, "example.com") is None
    assert not replica.lists(one, "example.com")
    assert put(replica, site(2, "gone.example")) == 1, "that it was removed is forgotten as well"
    assert put(replica, Change(Client(an_id(8), "gone"), 1)) == 0, "of sites, and of nothing else"
    assert replica.may(client, MANAGE_DATA, one)
    assert replica.find_client("aa") == client

    replica.clear(GRANTS.name)
    replica.refreshed(Touched(all=True))
    assert not replica.has_grants(client)
    for table in ("grants", "holders"):
        assert replica._reader.newest(f"SELECT count(*) FROM {table}") == (0,)


def test_when_it_was_polled_is_noted_and_until_then_its_newest_change_says_so(replica: Replica) -> None:
    assert replica.polled_at_s == 0
    replica.complete(5_000_000)
    replica.complete(4_000_000)
    replica.refreshed()
    assert (replica.version, replica.polled_at_s) == (5_000_000, 5)
    for at_s in (7.5, 9.25):
        replica.note_poll(at_s)
        assert replica.polled_at_s == at_s


def test_a_copy_is_in_a_directory_of_its_user_under_the_name_of_its_role(tmp_path: Path) -> None:
    made = Replica(tmp_path / "not" / "there", "gateway", ("sites",))
    assert made.path == tmp_path / "not" / "there" / "registry-gateway-0.sqlite"
    assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
    assert made.tables == ("sites",)
    made.close()


def test_sites_that_come_and_go_are_told_and_no_other(replica: Replica) -> None:
    """Their rules come into force, or end."""
    rule = Rule(an_id(1), "path", "/a")
    put(replica, Change(Exclusion(an_id(5), *rule[1:], rule.site_id), 1))
    for change, owners in (
        (site(1, "example.com"), {an_id(1)}),
        (site(1, "example.com", "example.org", version=2), set()),
        (site(1, "example.com", version=3, removed=True), {an_id(1)}),
        (site(1, "example.com", version=4), {an_id(1)}),
    ):
        since = replica.generation
        put(replica, change)
        changes = replica.rules_since(since)
        assert changes is not None
        assert (set(changes.owners), set(changes.rules)) == (owners, set())


def test_changes_since_a_generation_are_those_after_it_as_long_as_they_are_remembered() -> None:
    log = RuleLog()
    assert log.generation == 0
    rules = [Rule(None, "path", f"/{number}") for number in range(70)]
    for number, rule in enumerate(rules, 1):
        log.add(Touched(rules={rule}))
        assert log.generation == number
        if number >= 3:
            changes = log.since(number - 3)
            assert changes is not None
            assert set(changes.rules) == set(rules[number - 3 : number])
    remembered = log.since(70 - 64)
    assert remembered is not None
    assert len(remembered.rules) == 64
    assert log.since(70 - 65) is None
    now = log.since(70)
    assert now is not None
    assert not now.rules


def test_a_site_that_was_read_before_its_change_was_told_is_forgotten_under_each_name(replica: Replica) -> None:
    """Its newer state was remembered under one name, and is not any more; its older one is, under another."""
    put(replica, *(site(number, f"a{number}.example", f"b{number}.example") for number in (1, 2)))
    old = [replica.find_site(f"a{number}.example") for number in (1, 2)]
    assert old[0] is not None
    told = []
    for number in (1, 2):
        names = (f"a{number}.example", f"b{number}.example")
        told.append(replica.apply([Change(Site(an_id(number), "new", names, created_us=0), 2)])[1])
        assert found(replica, names[1]) == "new"
        replica.find_site.drop([names[1]])
    for number, touched in enumerate(told, 1):
        assert found(replica, f"a{number}.example") == f"a{number}.example"
        replica.refreshed(touched)
        assert found(replica, f"a{number}.example") == "new"


def test_what_was_compared_with_clickhouse_is_kept_by_table(replica: Replica) -> None:
    assert replica.windows() == {}
    windows = {"sites": Window(5, 2**64 - 1), "grants": Window(7, 0)}
    replica.complete(7, windows)
    replica.complete(8, {"grants": Window(8, 3)})
    assert replica.windows() == {**windows, "grants": Window(8, 3)}

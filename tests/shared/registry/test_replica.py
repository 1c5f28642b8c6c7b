"""A process's copy of the registry."""

from __future__ import annotations

import gc
import sqlite3
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.pageview import MANAGE_DATA
from shared.registry import Replica
from shared.registry.cache import Cache
from shared.registry.records import Change, Client, Exclusion, Grant, Record, Site
from shared.registry.touched import Rule
from shared.settings import SettingsError


def an_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def site(number: int, *hostnames: str, version: int = 1, created_us: int = 0, removed: bool = False) -> Change:
    return Change(Site(an_id(number), hostnames[0], hostnames, created_us=created_us), version, removed)


def put(replica: Replica, *sites: Change) -> int:
    new, touched = replica.apply(sites)
    replica.refreshed(touched)
    return new


def found(replica: Replica, hostname: str) -> str | None:
    site = replica.find_site(hostname)
    return site.name if site else None


def test_a_site_is_found_with_its_options(replica: Replica) -> None:
    plain = Site(an_id(1), "example.com", ("example.com",), "Europe/Berlin", 30)
    full = replace(plain, query_keep=("page", "q*"), query_drop=("sid",), hash_paths=True, derived_sessions=True)
    put(replica, Change(replace(full, created_us=5), 1))
    assert replica.find_site("example.com") == replace(full, hostnames=())
    put(replica, Change(replace(plain, created_us=5), 2))
    assert replica.find_site("example.com") == replace(plain, hostnames=())


def test_an_exact_hostname_goes_before_a_wildcard_and_the_longest_wildcard_before_a_shorter(replica: Replica) -> None:
    put(replica, site(1, "*.example.com"), site(2, "*.a.example.com"), site(3, "b.a.example.com"))
    assert found(replica, "b.a.example.com") == "b.a.example.com"
    assert found(replica, "c.a.example.com") == "*.a.example.com"
    assert found(replica, "x.y.a.example.com") == "*.a.example.com"
    assert found(replica, "a.example.com") == "*.example.com"
    assert found(replica, "example.com") is None, "a wildcard is for subdomains"


def test_a_hostname_listed_twice_belongs_to_the_older_site(replica: Replica) -> None:
    put(
        replica,
        site(1, "one.example", "shared.example", created_us=2),
        site(2, "two.example", "shared.example", created_us=1),
    )
    assert found(replica, "shared.example") == "two.example"
    put(replica, site(2, "two.example", version=2, removed=True))
    assert found(replica, "shared.example") == "one.example"


def test_a_hostname_removed_from_a_site_no_longer_belongs_to_it(replica: Replica) -> None:
    put(replica, site(1, "example.com", "alias.example"))
    put(replica, site(1, "example.com", version=2))
    assert found(replica, "alias.example") is None
    assert found(replica, "example.com") == "example.com"


def test_a_change_drops_cached_answers(replica: Replica) -> None:
    assert found(replica, "example.com") is None
    put(replica, site(1, "example.com"))
    assert found(replica, "example.com") == "example.com"


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_repeated_changes_in_any_order_give_the_same_result(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    history = [
        site(number, f"v{version}.example", version=version, removed=data.draw(st.booleans()))
        for number in (1, 2)
        for version in (1, 2, 3)
    ]
    outcomes = []
    for order in (history, data.draw(st.permutations(history * 2))):
        replica = Replica(tmp_path_factory.mktemp("state"), "test")
        cut = data.draw(st.integers(0, len(order)))
        put(replica, *order[:cut])
        put(replica, *order[cut:])
        outcomes.append([found(replica, f"v{version}.example") for version in (1, 2, 3)])
        replica.close()
    assert outcomes[0] == outcomes[1]


def test_applying_the_same_again_changes_nothing(replica: Replica) -> None:
    assert put(replica, site(1, "example.com"), site(2, "example.org")) == 2
    assert put(replica, site(1, "example.com"), site(2, "example.org")) == 0
    assert put(replica, site(1, "example.com", version=2, removed=True)) == 1
    assert put(replica, site(1, "example.com"), site(1, "example.com", version=2, removed=True)) == 0


def test_clients_are_found_by_token_and_hold_their_grants(replica: Replica) -> None:
    put(replica, site(1, "one.example"), site(2, "two.example"))
    one, two = replica.find_site("one.example"), replica.find_site("two.example")
    assert one is not None
    assert two is not None
    some = Client(an_id(9), "some", "5/second", "aa")
    every = Client(an_id(8), "every", token_sha256="bb")
    nothing = Client(an_id(7), "nothing", token_sha256="dd")
    granted = [Grant(an_id(9), MANAGE_DATA, an_id(1)), Grant(an_id(8), MANAGE_DATA)]
    records: list[Record] = [some, every, nothing, *granted]
    put(replica, *(Change(record, 1) for record in records))
    assert [replica.find_client(token) for token in ("aa", "bb", "cc", "dd")] == [some, every, None, nothing]
    assert replica.may(some, MANAGE_DATA, one)
    assert not replica.may(some, MANAGE_DATA, two)
    assert not replica.may(some, "site.read", one)
    assert replica.may(every, MANAGE_DATA, two)
    assert [replica.has_grants(client) for client in (some, every, nothing)] == [True, True, False]
    put(replica, Change(granted[0], 2, removed=True), Change(Grant(an_id(7), MANAGE_DATA, an_id(2)), 1))
    assert not replica.may(some, MANAGE_DATA, one)
    assert [replica.has_grants(client) for client in (some, every, nothing)] == [False, True, True]
    assert put(replica, Change(granted[0], 1)) == 0, "an older change arrives late"
    assert not replica.may(some, MANAGE_DATA, one)
    put(replica, Change(replace(some, token_sha256="ee"), 2))
    assert replica.find_client("aa") is None
    assert replica.find_client("ee") is not None


def test_grants_are_loaded_packed(replica: Replica) -> None:
    sites = [an_id(number) for number in range(1, 4)]
    new, touched = replica.load_grants([(an_id(9), MANAGE_DATA, b"".join(sites), [5, 6, 7])])
    replica.refreshed(touched)
    client = Client(an_id(9), "edge")
    assert new == 3
    assert [replica.may(client, MANAGE_DATA, Site(an_id(n), "", ())) for n in range(1, 5)] == [True] * 3 + [False]
    put(replica, Change(Grant(an_id(9), MANAGE_DATA, an_id(2)), 6, removed=True))
    assert replica.may(client, MANAGE_DATA, Site(an_id(2), "", ())), "what is loaded is as new"
    put(replica, Change(Grant(an_id(9), MANAGE_DATA, an_id(2)), 8, removed=True))
    assert not replica.may(client, MANAGE_DATA, Site(an_id(2), "", ()))


def test_all_names_of_a_site_have_one_object_and_a_change_forgets_no_other_site(replica: Replica) -> None:
    put(replica, site(1, "*.one.example", *(f"{n}.example" for n in range(50))), site(2, "two.example"))
    first = replica.find_site("1.example")
    assert all(replica.find_site(f"{n}.one.example") is first for n in range(100))
    two = replica.find_site("two.example")
    none = replica.find_site("x.new.example")
    put(replica, site(1, "*.one.example", "*.new.example", version=2))
    assert replica.find_site("two.example") is two
    assert none is None
    assert found(replica, "x.new.example") == "*.one.example"
    assert found(replica, "1.example") is None
    assert found(replica, "7.one.example") == "*.one.example"
    put(replica, site(3, "7.one.example"))
    assert found(replica, "7.one.example") == "7.one.example"


def test_a_site_lists_its_hostnames_and_what_is_below_them(replica: Replica) -> None:
    put(replica, site(1, "example.com", "*.example.net", "shop.example.org"), site(2, "other.example"))
    one = replica.find_site("example.com")
    assert one is not None
    own = ("example.com", "a.example.com", "example.net", "b.a.example.net", "shop.example.org")
    assert [replica.lists(one, host) for host in own] == [True] * 5
    others = ("com", "example.org", "other.example", "xexample.com")
    assert [replica.lists(one, host) for host in others] == [False] * 4
    assert [replica.is_listed(host) for host in (*own, *others)] == [*[True] * 5, False, False, True, False]


@pytest.mark.parametrize("more", [[], [site(5, *(f"*.{number}.example" for number in range(30)))]])
def test_a_host_that_a_site_begins_to_list_is_its_own(replica: Replica, more: list[Change]) -> None:
    put(replica, site(1, "example.com"))
    before = replica.find_site("example.com")
    assert before is not None
    assert not replica.lists(before, "shop.example.org")
    assert not replica.is_listed("shop.example.org")

    put(replica, site(1, "example.com", "*.example.org", version=2), *more)

    now = replica.find_site("example.com")
    assert now is not None
    assert replica.lists(now, "shop.example.org")
    assert replica.is_listed("shop.example.org")
    put(replica, site(1, "example.com", version=3), site(2, "*.example.org", version=3))
    assert not replica.lists(now, "shop.example.org")


def test_a_name_that_was_looked_up_before_a_change_was_told_has_the_new_state_afterwards(replica: Replica) -> None:
    put(replica, site(1, "a.example", "b.example"))
    assert found(replica, "a.example") == "a.example"
    _, touched = replica.apply([site(1, "renamed.example", "a.example", "b.example", version=2)])
    assert found(replica, "b.example") == "renamed.example"
    replica.find_site.drop(["b.example"])
    gc.collect()
    replica.refreshed(touched)
    assert found(replica, "a.example") == "renamed.example"


def test_changed_rules_are_told_until_they_are_too_many(replica: Replica) -> None:
    put(replica, site(1, "example.com"))
    since = replica.generation
    rule = Exclusion(an_id(1), "path", "/a", an_id(1))
    put(replica, Change(rule, 1))
    put(replica, Change(replace(rule, value="/b"), 2))
    changes = replica.rules_since(since)
    assert changes is not None
    assert set(changes.rules) == {Rule(an_id(1), "path", "/a"), Rule(an_id(1), "path", "/b")}
    assert replica.holds(changes.rules) == {Rule(an_id(1), "path", "/b")}
    put(replica, site(1, "example.com", version=2, removed=True))
    later = replica.rules_since(since)
    assert later is not None
    assert set(later.owners) == {an_id(1)}
    assert replica.exclusions_of(an_id(1)) == []
    put(replica, *(Change(Exclusion(an_id(n), "path", f"/{n}"), 1) for n in range(10, 2000)))
    assert replica.rules_since(since) is None


def test_exclusions_of_a_removed_site_are_not_in_force(replica: Replica) -> None:
    rules = [
        Exclusion(an_id(1), "path", "/a", an_id(1)),
        Exclusion(an_id(2), "country", "DE"),
    ]
    put(replica, site(1, "example.com"), *(Change(rule, 1) for rule in rules))
    assert sorted(replica.exclusions(), key=lambda rule: rule.exclusion_id) == rules
    put(replica, site(1, "example.com", version=2, removed=True))
    assert [rule.value for rule in replica.exclusions()] == ["DE"]


def test_reading_all_exclusions_does_not_hold_up_what_others_see(replica: Replica) -> None:
    """On a thread, while changes are applied: the loop must see them at once."""
    rules = [Change(Exclusion(an_id(number), "path", f"/{number}"), 1) for number in range(2000)]
    replica.apply(rules)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            replica.exclusions()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(1, 50):
            put(replica, site(number, f"s{number}.example"))
            assert found(replica, f"s{number}.example")
    finally:
        stop.set()
        thread.join()


def test_a_copy_is_empty_until_a_load_is_complete(replica: Replica, tmp_path: Path) -> None:
    put(replica, site(1, "example.com", version=5))
    assert replica.empty
    replica.complete(5)
    replica.refreshed()
    assert not replica.empty
    replica.close()
    again = Replica(tmp_path / "state", "test")
    assert again.version == 5
    assert found(again, "example.com")
    again.close()


def test_two_processes_of_a_role_have_a_file_each(replica: Replica, tmp_path: Path) -> None:
    second = Replica(tmp_path / "state", "test")
    assert second.path != replica.path
    second.close()
    third = Replica(tmp_path / "state", "test")
    assert third.path == second.path, "a name that is free is taken again, with what is in the file"
    third.close()


def opened_by(directory: Path, *owner: str) -> Path:
    opened = Replica(directory, "test", owner=owner)
    opened.close()
    return opened.path


def test_a_copy_of_another_instance_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two on one directory: restarted in another order, each would decide by the other's sites and tokens."""
    ours = opened_by(tmp_path, "key1")
    assert caplog.messages == []
    theirs = opened_by(tmp_path, "key9")
    assert theirs != ours
    assert f"{ours} is another instance's; each needs a directory of its own" in caplog.text
    assert opened_by(tmp_path, "key9") == theirs
    assert opened_by(tmp_path, "key1") == ours


def test_a_copy_stays_ours_while_keys_are_changed(tmp_path: Path) -> None:
    paths = {opened_by(tmp_path, *keys) for keys in (("key1",), ("key1", "key2"), ("key2", "key1"), ("key2",))}
    assert len(paths) == 1
    assert opened_by(tmp_path, "key1") not in paths


def test_a_copy_of_a_version_that_noted_no_owner_is_taken(tmp_path: Path) -> None:
    assert opened_by(tmp_path) == opened_by(tmp_path, "key1")


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 100])
def test_a_damaged_copy_is_replaced(tmp_path: Path, damage: bytes) -> None:
    first = Replica(tmp_path, "test")
    first.close()
    first.path.write_bytes(damage)
    second = Replica(tmp_path, "test")
    assert second.empty
    put(second, site(1, "example.com"))
    second.close()


def test_a_copy_with_any_page_damaged_is_replaced(tmp_path: Path) -> None:
    first = Replica(tmp_path, "test")
    put(first, site(1, "example.com"))
    first.close()
    whole = first.path.read_bytes()
    size = 4096
    for at in range(0, len(whole), size):
        first.path.write_bytes(whole[:at] + b"\xa5" * size + whole[at + size :])
        again = Replica(tmp_path, "test")
        assert again.empty
        assert found(again, "example.com") is None
        assert again.find_client("0" * 64) is None
        put(again, site(1, "example.com"))
        assert found(again, "example.com") == "example.com"
        again.close()


def test_a_copy_of_another_layout_is_replaced(replica: Replica, tmp_path: Path) -> None:
    put(replica, site(1, "example.com"))
    replica.close()
    with sqlite3.connect(replica.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    again = Replica(tmp_path / "state", "test")
    assert found(again, "example.com") is None
    again.close()


def test_a_directory_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="HITLINE_STATE_DIR"):
        Replica(tmp_path / "file" / "state", "test")


def test_names_seen_of_a_wildcard_site_take_little_memory(replica: Replica) -> None:
    """200 hostnames and 50,000 names: each name with a copy of all hostnames was 908 MB."""
    put(replica, site(1, *(f"*.w{number}.example" for number in range(200))))
    tracemalloc.start()
    try:
        for number in range(10_000):
            replica.find_site(f"n{number}.w{number % 200}.example")
        assert tracemalloc.get_traced_memory()[0] < 20 * 2**20 / 5
    finally:
        tracemalloc.stop()


def test_a_cache_forgets_what_was_not_asked_for() -> None:
    found: list[int] = []

    def find(key: int) -> int:
        found.append(key)
        return -key

    cache = Cache(10, find)
    for number in range(100):
        assert cache(number) == -number
        assert cache(0) == 0
    assert found == list(range(100)), "what is asked for again and again stays"
    assert cache(1) == -1
    assert found[-1] == 1
    cache.drop([0])
    cache(0)
    cache.drop_among(lambda entries: [key for key, value in entries.items() if key == 0 and value == 0])
    cache(0)
    assert found[-2:] == [0, 0]
    assert len(cache._new) + len(cache._old) <= 10

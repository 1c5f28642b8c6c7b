"""Pageviews, a registry and geo databases, made for the tests of steps and look-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from shared.hostnames import parents
from shared.pageview import QueuedPageview
from shared.registry import Client, Exclusion, Site
from shared.registry.owners import find_owner
from shared.registry.rule_log import RuleChanges
from shared.registry.touched import Rule
from worker.lookups.agents import Agents
from worker.settings import WorkerSettings

NOW_MS = 1_780_000_000_000
SITE = Site(b"\1" * 16, "example.com", ("example.com", "shop.example.org", "*.example.net"))
OTHER_SITE = Site(b"\2" * 16, "other.example", ("other.example",), retention_days=30)


@cache
def agents() -> Agents:
    """Return what tells user agents apart; building it takes a second."""
    return Agents()


PLAIN = QueuedPageview(
    client_id=b"c" * 16,
    received_ms=NOW_MS,
    hostname="example.com",
    url="https://example.com/",
    timestamp_ms=NOW_MS,
    visitor_ip="81.2.69.142",
    user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    dnt=False,
    session_id=b"s" * 16,
    page_id=b"p" * 16,
    referrer="",
    language="",
    screen_width=1920,
    screen_height=1080,
    viewport_width=1900,
    viewport_height=900,
)


def pageview(**fields: Any) -> QueuedPageview:
    return PLAIN._replace(**fields)


class FakeRegistry:
    """Sites by hostname and rules, in memory."""

    def __init__(self, sites: Sequence[Site] = (SITE, OTHER_SITE), rules: Sequence[Exclusion] = ()) -> None:
        self.generation = 0
        self.sites = list(sites)
        self.rules = list(rules)
        self.find_site: Callable[[str], Site | None] = self._find_site

    def _find_site(self, hostname: str) -> Site | None:
        return find_owner(hostname, lambda name: next((site for site in self.sites if name in site.hostnames), None))

    def lists(self, site: Site, host: str) -> bool:
        own = {hostname.removeprefix("*.") for hostname in site.hostnames}
        return not own.isdisjoint((host, *parents(host)))

    def is_listed(self, host: str) -> bool:
        return any(self.lists(site, host) for site in self.sites)

    def may(self, client: Client, permission: str, site: Site) -> bool:
        return True

    def rules_since(self, generation: int) -> RuleChanges | None:
        return None

    def exclusions(self) -> list[Exclusion]:
        return list(self.rules)

    def exclusions_of(self, owner: bytes | None) -> list[Exclusion]:
        return [rule for rule in self.rules if rule.site_id == owner]

    def holds(self, rules: Iterable[Rule]) -> set[Rule]:
        return set(rules) & {Rule(rule.site_id, rule.kind, rule.value) for rule in self.rules}

    def exclude(self, kind: str, value: str, site: Site | None = None) -> None:
        number = len(self.rules).to_bytes(16, "big")
        self.rules.append(Exclusion(number, kind, value, site.site_id if site else None))
        self.generation += 1


def write_database(path: Path, records: dict[str, Any], kind: str = "City", ip_version: int = 6) -> Path:
    """Write a database that has `records` (network → record), in the path's place at one stroke."""
    writer = MMDBWriter(ip_version, f"Test-{kind}", languages=["en"], ipv4_compatible=ip_version == 6)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    part = path.with_suffix(".part")
    writer.to_db_file(str(part))
    part.replace(path)
    return path


CITY_RECORDS: dict[str, Any] = {
    "81.2.69.0/24": {
        "city": {"names": {"en": "London", "de": "London"}},
        "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}},
        "subdivisions": [{"iso_code": "ENG", "names": {"en": "England"}}, {"names": {"en": "Second"}}],
    },
    "2a02:8070::/32": {"city": {"names": {"en": "Köln"}}, "country": {"iso_code": "DE"}},
}
ASN_RECORDS: dict[str, Any] = {
    "81.2.69.0/24": {"autonomous_system_number": 20712, "autonomous_system_organization": "Andrews & Arnold Ltd"},
}


def made_settings(state: Path, **more: Any) -> WorkerSettings:
    return WorkerSettings(queue_keys=("A" * 43 + "=",), state_dir=state, **more)  # type: ignore[arg-type]


def texts(size=40):
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=size)


ANY = st.builds(
    pageview,
    received_ms=st.integers(-(2**63), 2**64 - 1),
    hostname=st.sampled_from(["example.com", "other.example", "nobody.example"]) | texts(),
    url=texts().map("https://example.com/{}".format) | texts(),
    timestamp_ms=st.integers(0, 4 * NOW_MS) | st.integers(-(2**63), 2**64 - 1),
    visitor_ip=st.ip_addresses().map(str) | texts(),
    user_agent=texts(),
    dnt=st.booleans(),
    referrer=texts().map("https://{}".format) | texts(),
    language=texts(),
    screen_width=st.integers(-(2**63), 2**64 - 1),
)

"""The exclusion rules in force, compiled so that a pageview costs the same at one rule and at 100,000."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from shared.metrics import LOOKUP_STALE
from shared.outcomes import Outcome
from shared.registry import Site
from worker.lookups.addresses import parse_address
from worker.lookups.exclusion_rules import parse_rule
from worker.lookups.networks import Networks, parse_network
from worker.lookups.paths import Prefixes
from worker.lookups.registry import Registry
from worker.lookups.substrings import Substrings

log = logging.getLogger(__name__)

_CACHED: Final = 65_536
_CACHED_AGENTS: Final = 16_384


class Subject(NamedTuple):
    """What rules look at; `path` is in the form of `paths.comparable`."""

    address: str
    country: str
    user_agent: str
    path: str


class Verdict(NamedTuple):
    """The rule that excludes a pageview, and by what."""

    reason: Outcome
    rule: str


class RuleSet:
    """The rules of one site, or those of the instance."""

    def __init__(self, rules: Mapping[str, list[str]], owner: str) -> None:
        self._owner = owner
        self._countries = frozenset(rules.get("country", ()))
        self._paths = Prefixes(rules["path"]) if "path" in rules else None
        self._find_network = _network_finder(rules["cidr"]) if "cidr" in rules else None
        self._find_agent = Substrings(rules["user_agent"]).find if "user_agent" in rules else None

    def cached(self) -> RuleSet:
        """Answer addresses and user agents from memory where they were seen before; not for every site its own."""
        if self._find_network:
            self._find_network = lru_cache(maxsize=_CACHED)(self._find_network)
        if self._find_agent:
            self._find_agent = lru_cache(maxsize=_CACHED_AGENTS)(self._find_agent)
        return self

    def find(self, subject: Subject, site_name: str) -> Verdict | None:
        """Return the first rule that covers `subject`: by network, country, user agent, path."""
        if self._find_network and (network := self._find_network(subject.address)):
            return self._verdict(Outcome.EXCLUDED_CIDR, "cidr", network, site_name)
        if subject.country in self._countries:
            return self._verdict(Outcome.EXCLUDED_COUNTRY, "country", subject.country, site_name)
        if self._find_agent and (part := self._find_agent(subject.user_agent)):
            return self._verdict(Outcome.EXCLUDED_USER_AGENT, "user_agent", part, site_name)
        if self._paths and (prefix := self._paths.find(subject.path)):
            return self._verdict(Outcome.EXCLUDED_PATH, "path", prefix, site_name)
        return None

    def _verdict(self, reason: Outcome, kind: str, value: str, site_name: str) -> Verdict:
        return Verdict(reason, f"{kind} {value} of {self._owner or site_name}")


def _network_finder(rules: Iterable[str]) -> Callable[[str], str | None]:
    networks = Networks((parse_network(rule), rule) for rule in rules)

    def find(text: str) -> str | None:
        address = parse_address(text)
        return networks.find(address) if address else None

    return find


class Exclusions:
    """The rule sets in use; `find` asks them, `refresh` rebuilds them when the registry changed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._instance: RuleSet | None = None
        self._sites: Mapping[bytes, RuleSet] = {}
        self.problems: dict[str, str] = {}
        self.refresh()

    def none_for(self, site: Site) -> bool:
        """Tell whether no rule at all concerns the site."""
        return self._instance is None and site.site_id not in self._sites

    def find(self, site: Site, subject: Subject) -> Verdict | None:
        """Return the rule of the instance, else of the site, that keeps `subject` out."""
        if self._instance and (verdict := self._instance.find(subject, site.name)):
            return verdict
        own = self._sites.get(site.site_id)
        return own.find(subject, site.name) if own else None

    def refresh(self) -> None:
        """Rebuild from the registry when its generation is another; safe on another thread than `find`'s."""
        generation = self._registry.generation
        if generation == self._generation:
            return
        grouped: dict[bytes | None, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        problem = ""
        for rule in self._registry.exclusions():
            try:
                grouped[rule.site_id][rule.kind].append(parse_rule(rule.kind, rule.value))
            except ValueError as error:  # written by another version, or by hand
                problem = f"exclusion {rule.exclusion_id.hex()} is not in force: {error}"
                log.warning("%s", problem)
        instance = grouped.pop(None, None)
        self._sites = {site_id: RuleSet(rules, "") for site_id, rules in grouped.items() if site_id is not None}
        self._instance = RuleSet(instance, "this instance").cached() if instance else None
        self._generation = generation
        self._report(problem)

    def _report(self, problem: str) -> None:
        self.problems = {"exclusions": problem} if problem else {}
        LOOKUP_STALE.labels("exclusions").set(1 if problem else 0)

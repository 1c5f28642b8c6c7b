"""The exclusion rules that apply, compiled so that a pageview costs the same at one rule and at 100,000."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from shared.metrics import LOOKUP_STALE
from shared.outcomes import Outcome
from shared.registry import Exclusion, Site
from worker.lengths import CACHED_LENGTH
from worker.lookups.addresses import parse_address
from worker.lookups.exclusion_rules import KINDS, parse_rule
from worker.lookups.networks import Networks, parse_network
from worker.lookups.paths import Prefixes
from worker.lookups.registry import Registry
from worker.lookups.substrings import Substrings

log = logging.getLogger(__name__)

_CACHED_ADDRESSES: Final = 65_536
_CACHED_AGENTS: Final = 16_384
_CACHED_PATHS: Final = 16_384

#: Values of rules by kind.
Rules = Mapping[str, list[str]]


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
    """The rules of one site, or those of the instance; look-ups are not cached here, see `Remembered`."""

    def __init__(self, rules: Rules, owner: str = "") -> None:
        """Compile `rules` (kind → values); raises `ValueError` for a value that can't be.

        `owner` is what verdicts call it; a site's rules are called by the site's name.
        """
        if not rules.keys() <= set(KINDS):
            unknown = next(iter(rules.keys() - set(KINDS)))
            raise ValueError(f"unknown rule kind {unknown!r}; use one of {', '.join(KINDS)}")
        self._owner = owner
        self.countries = frozenset(parse_rule("country", value) for value in rules.get("country", ()))
        self.networks = Networks((parse_network(value), value) for value in rules.get("cidr", ()))
        self.agents = Substrings(rules.get("user_agent", ()))
        self.paths = Prefixes(rules.get("path", ()))

    def network_of(self, text: str) -> str | None:
        """Return the rule that covers an address."""
        address = parse_address(text)
        return self.networks.find(address) if address else None

    def agent_of(self, text: str) -> str | None:
        """Return a rule that covers a user agent."""
        return self.agents.find(text)

    def path_of(self, path: str) -> str | None:
        """Return the rule that covers a path."""
        return self.paths.find(path)

    def find(self, subject: Subject, site_name: str, remembered: Remembered) -> Verdict | None:
        """Return the first rule that covers `subject`: by network, country, user agent, path."""
        if self.networks and (network := remembered.network_of(self, subject.address)):
            return self._verdict(Outcome.EXCLUDED_CIDR, "cidr", network, site_name)
        if subject.country in self.countries:
            return self._verdict(Outcome.EXCLUDED_COUNTRY, "country", subject.country, site_name)
        if self.agents and (part := remembered.agent_of(self, subject.user_agent)):
            return self._verdict(Outcome.EXCLUDED_USER_AGENT, "user_agent", part, site_name)
        path_of = remembered.path_of if len(subject.path) <= CACHED_LENGTH else RuleSet.path_of
        if self.paths and (prefix := path_of(self, subject.path)):
            return self._verdict(Outcome.EXCLUDED_PATH, "path", prefix, site_name)
        return None

    def _verdict(self, reason: Outcome, kind: str, value: str, site_name: str) -> Verdict:
        return Verdict(reason, f"{kind} {value} of {self._owner or site_name}")


class Remembered(NamedTuple):
    """Look-ups of all rule sets that remember their answers; the memory is one, so bounded at any number of sites."""

    network_of: Callable[[RuleSet, str], str | None]
    agent_of: Callable[[RuleSet, str], str | None]
    path_of: Callable[[RuleSet, str], str | None]


class InForce(NamedTuple):
    """All rule sets at one time, by site; None: those of the instance."""

    sets: Mapping[bytes | None, RuleSet]
    remembered: Remembered


class Exclusions:
    """The rule sets in use; `find` asks them, `refresh` rebuilds those that changed in the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._rules: Mapping[bytes | None, Rules] = {}
        self._in_force = _in_force({})
        self.problems: dict[str, str] = {}
        self.refresh()

    def none_for(self, site: Site) -> bool:
        """Tell whether no rule at all concerns the site."""
        sets = self._in_force.sets
        return not sets or (None not in sets and site.site_id not in sets)

    def find(self, site: Site, subject: Subject) -> Verdict | None:
        """Return the rule of the instance, else of the site, that keeps `subject` out."""
        sets, remembered = self._in_force
        for owner in (None, site.site_id):
            rules = sets.get(owner)
            if rules and (verdict := rules.find(subject, site.name, remembered)):
                return verdict
        return None

    def refresh(self) -> None:
        """Follow the registry when its generation is another; safe on another thread than `find`'s."""
        generation = self._registry.generation
        if generation == self._generation:
            return
        rules = _grouped(self._registry.exclusions())
        if rules != self._rules:
            # Unchanged rule sets are kept; after problems all are compiled again, so that they are reported again.
            before = {} if self.problems else self._in_force.sets
            self.problems = {}
            unchanged = {owner for owner in rules if owner in before and rules[owner] == self._rules.get(owner)}
            self._in_force = _in_force(
                {owner: before[owner] if owner in unchanged else self._compile(owner, rules[owner]) for owner in rules}
            )
            self._rules = rules
            LOOKUP_STALE.labels("exclusions").set(1 if self.problems else 0)
        self._generation = generation

    def _compile(self, owner: bytes | None, rules: Rules) -> RuleSet:
        name = "" if owner else "this instance"
        try:
            return RuleSet(rules, name)
        except ValueError:  # some were written by another version, or by hand: the others must hold
            return RuleSet(self._valid(rules), name)

    def _valid(self, rules: Rules) -> Rules:
        valid: dict[str, list[str]] = {}
        for kind, values in rules.items():
            for value in values:
                try:
                    kept = parse_rule(kind, value)
                except ValueError as error:
                    self.problems["exclusions"] = f"{kind} {value!r} is ignored: {error}"
                    log.warning("exclusion by %s", self.problems["exclusions"])
                else:
                    valid.setdefault(kind, []).append(kept)
        return valid


def _grouped(exclusions: Iterable[Exclusion]) -> Mapping[bytes | None, Rules]:
    grouped: dict[bytes | None, dict[str, list[str]]] = {}
    for rule in exclusions:
        grouped.setdefault(rule.site_id, {}).setdefault(rule.kind, []).append(rule.value)
    return grouped


def _in_force(sets: Mapping[bytes | None, RuleSet]) -> InForce:
    network_of = lru_cache(maxsize=_CACHED_ADDRESSES)(RuleSet.network_of)
    agent_of = lru_cache(maxsize=_CACHED_AGENTS)(RuleSet.agent_of)
    path_of = lru_cache(maxsize=_CACHED_PATHS)(RuleSet.path_of)
    return InForce(sets, Remembered(network_of, agent_of, path_of))

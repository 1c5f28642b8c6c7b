"""Exclusion rules compiled so that a pageview costs the same at one rule and at 100,000."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from shared.outcomes import Outcome
from worker.lengths import CACHED_LENGTH
from worker.lookups.addresses import parse_address
from worker.lookups.exclusion_rules import KINDS, parse_rule
from worker.lookups.networks import Networks, parse_network
from worker.lookups.paths import Prefixes
from worker.lookups.substrings import Substrings

_CACHED_ADDRESSES: Final = 65_536
_CACHED_AGENTS: Final = 16_384
_CACHED_PATHS: Final = 16_384

#: Values of rules by kind.
Rules = Mapping[str, Sequence[str]]


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
        self.number = next(_NUMBERS)
        self.countries = frozenset(parse_rule("country", value) for value in rules.get("country", ()))
        self.networks = Networks((parse_network(value), value) for value in rules.get("cidr", ()))
        self.agents = Substrings(rules.get("user_agent", ()))
        self.paths = Prefixes(rules.get("path", ()))
        #: Whether no rule is there in two spellings: then one can be taken away by itself.
        self.distinct = len(self) == sum(map(len, rules.values()))
        self._note_kinds()

    def __len__(self) -> int:
        return len(self.countries) + len(self.networks) + len(self.agents) + len(self.paths)

    def changed(self, added: Rules, removed: Rules) -> RuleSet:
        """Return these rules with some added and others removed, without looking at the rest; raises as above."""
        more, less = RuleSet(added), RuleSet(removed)
        new = RuleSet({}, self._owner)
        new.countries = (self.countries - less.countries) | more.countries
        new.networks = self.networks.changed(
            [(parse_network(value), value) for value in added.get("cidr", ())],
            [parse_network(value) for value in removed.get("cidr", ())],
        )
        new.agents = self.agents.changed(added.get("user_agent", ()), removed.get("user_agent", ()))
        new.paths = self.paths.changed(added.get("path", ()), removed.get("path", ()))
        new._note_kinds()
        return new

    def _note_kinds(self) -> None:
        """Note which kinds there are: every pageview asks."""
        self._has_networks, self._has_agents, self._has_paths = map(bool, (self.networks, self.agents, self.paths))

    def network_of(self, text: str) -> str | None:
        """Return the rule that covers an address."""
        address = parse_address(text)
        return self.networks.find(address) if address else None

    def find(self, subject: Subject, site_name: str, remembered: Remembered) -> Verdict | None:
        """Return the first rule that covers `subject`: by network, country, user agent, path."""
        if self._has_networks and (network := remembered.network_of(self.number, subject.address)):
            return self._verdict(Outcome.EXCLUDED_CIDR, "cidr", network, site_name)
        if subject.country in self.countries:
            return self._verdict(Outcome.EXCLUDED_COUNTRY, "country", subject.country, site_name)
        if self._has_agents and (part := remembered.agent_of(self.number, subject.user_agent)):
            return self._verdict(Outcome.EXCLUDED_USER_AGENT, "user_agent", part, site_name)
        if self._has_paths and (prefix := self._path_of(subject.path, remembered)):
            return self._verdict(Outcome.EXCLUDED_PATH, "path", prefix, site_name)
        return None

    def _path_of(self, path: str, remembered: Remembered) -> str | None:
        return remembered.path_of(self.number, path) if len(path) <= CACHED_LENGTH else self.paths.find(path)

    def _verdict(self, reason: Outcome, kind: str, value: str, site_name: str) -> Verdict:
        return Verdict(reason, f"{kind} {value} of {self._owner or site_name}")


_NUMBERS: Final = itertools.count()


class Remembered:
    """Look-ups of all rule sets that remember their answers; the memory is one, so bounded at any number of sites.

    Answers are kept by the set's number: they hold no set in memory that is not in use any more.
    """

    def __init__(self) -> None:
        self._sets: WeakValueDictionary[int, RuleSet] = WeakValueDictionary()
        self.network_of = lru_cache(maxsize=_CACHED_ADDRESSES)(lambda number, text: self._sets[number].network_of(text))
        self.agent_of = lru_cache(maxsize=_CACHED_AGENTS)(lambda number, text: self._sets[number].agents.find(text))
        self.path_of = lru_cache(maxsize=_CACHED_PATHS)(lambda number, path: self._sets[number].paths.find(path))

    def add(self, rules: RuleSet) -> None:
        """Make a set known by its number."""
        self._sets[rules.number] = rules

"""The exclusion rules that apply: compiled once for all sites that have the same, and followed change by change."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final
from weakref import WeakValueDictionary

from shared.metrics import LOOKUP_STALE
from shared.registry import Exclusion, Site
from shared.registry.rule_log import RuleChanges
from shared.registry.touched import Rule
from worker.lookups.exclusion_rules import parse_rule
from worker.lookups.registry import Registry
from worker.lookups.rule_sets import Remembered, Rules, RuleSet, Subject, Verdict

log = logging.getLogger(__name__)

#: A set of so many rules is not compiled again for a change of some.
_LARGE: Final = 500


class Exclusions:
    """The rule sets in use; `find` asks them, `refresh` follows what has changed in the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        #: By site; None: those of the instance.
        self._sets: Mapping[bytes | None, RuleSet] = {}
        self._equal: WeakValueDictionary[frozenset[tuple[str, str]], RuleSet] = WeakValueDictionary()
        self._remembered = Remembered()
        self._refused: dict[bytes | None, str] = {}
        self.refresh()

    @property
    def problems(self) -> dict[str, str]:
        """Return a rule that is ignored, if there is one, and why."""
        return {"exclusions": next(iter(self._refused.values()))} if self._refused else {}

    def none_for(self, site: Site) -> bool:
        """Tell whether no rule at all concerns the site."""
        sets = self._sets
        return not sets or (None not in sets and site.site_id not in sets)

    def find(self, site: Site, subject: Subject) -> Verdict | None:
        """Return the rule of the instance, else of the site, that keeps `subject` out."""
        sets = self._sets
        for owner in (None, site.site_id):
            rules = sets.get(owner)
            if rules is not None and (verdict := rules.find(subject, site.name, self._remembered)):
                return verdict
        return None

    def refresh(self) -> None:
        """Follow the registry when its generation is another; safe on another thread than `find`'s."""
        generation = self._registry.generation
        if generation == self._generation:
            return
        changes = self._registry.rules_since(self._generation)
        if changes is None:
            self._refused = {}
            by_owner = _grouped(self._registry.exclusions())
            self._sets = {owner: self._compiled(owner, rules) for owner, rules in by_owner.items()}
        elif changes.rules or changes.owners:
            self._follow(changes)
        self._generation = generation
        LOOKUP_STALE.labels("exclusions").set(1 if self._refused else 0)

    def _follow(self, changes: RuleChanges) -> None:
        sets = dict(self._sets)
        by_owner: dict[bytes | None, set[Rule]] = {owner: set() for owner in changes.owners}
        for rule in changes.rules:
            by_owner.setdefault(rule.site_id, set()).add(rule)
        for owner, rules in by_owner.items():
            large = sets.get(owner)
            if large is not None and len(large) >= _LARGE and large.distinct and owner not in changes.owners:
                sets[owner] = self._changed(large, rules, owner)
            else:
                sets[owner] = self._compiled_again(owner)
        self._sets = {owner: rules for owner, rules in sets.items() if owner not in by_owner or len(rules)}

    def _changed(self, large: RuleSet, rules: set[Rule], owner: bytes | None) -> RuleSet:
        """Return a large set with what these rules are by now: in force, or not."""
        in_force = self._registry.holds(rules)
        if any(_spelt_otherwise(rule) for rule in rules):
            return self._compiled_again(owner)
        changed = large.changed(_by_kind(in_force), _by_kind(rules - in_force))
        self._remembered.add(changed)
        return changed

    def _compiled_again(self, owner: bytes | None) -> RuleSet:
        self._refused.pop(owner, None)
        rules = _grouped(self._registry.exclusions_of(owner)).get(owner, set())
        return self._compiled(owner, rules)

    def _compiled(self, owner: bytes | None, rules: set[tuple[str, str]]) -> RuleSet:
        """Return the set of these rules, of kind and value: the one that another site has, if it has the same."""
        key = frozenset(rules)
        if owner is not None and (equal := self._equal.get(key)) is not None:
            return equal
        name = "" if owner else "this instance"
        by_kind = _by_kind(Rule(owner, *rule) for rule in sorted(rules))
        try:
            compiled = RuleSet(by_kind, name)
        except ValueError:  # some were written by another version, or by hand: the others must hold
            return self._remember(RuleSet(self._valid(owner, by_kind), name))
        if owner is not None:
            self._equal[key] = compiled
        return self._remember(compiled)

    def _remember(self, rules: RuleSet) -> RuleSet:
        self._remembered.add(rules)
        return rules

    def _valid(self, owner: bytes | None, rules: Rules) -> Rules:
        valid: dict[str, list[str]] = {}
        for kind, values in rules.items():
            for value in values:
                try:
                    kept = parse_rule(kind, value)
                except ValueError as error:
                    self._refused[owner] = f"{kind} {value!r} is ignored: {error}"
                    log.warning("exclusion by %s", self._refused[owner])
                else:
                    valid.setdefault(kind, []).append(kept)
        return valid


def _grouped(exclusions: Iterable[Exclusion]) -> dict[bytes | None, set[tuple[str, str]]]:
    grouped: dict[bytes | None, set[tuple[str, str]]] = {}
    for rule in exclusions:
        grouped.setdefault(rule.site_id, set()).add((rule.kind, rule.value))
    return grouped


def _by_kind(rules: Iterable[Rule]) -> dict[str, list[str]]:
    by_kind: dict[str, list[str]] = {}
    for rule in rules:
        by_kind.setdefault(rule.kind, []).append(rule.value)
    return by_kind


def _spelt_otherwise(rule: Rule) -> bool:
    """Return whether a rule is not as commands write it: it may be there in another spelling, or be none."""
    try:
        return parse_rule(rule.kind, rule.value) != rule.value
    except ValueError:
        return True

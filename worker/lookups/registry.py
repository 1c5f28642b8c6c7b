"""What the steps need of the registry; `shared.registry.Replica` is one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from shared.registry import Exclusion, Site
from shared.registry.rule_log import RuleChanges
from shared.registry.touched import Rule


class Registry(Protocol):
    """Sites by hostname, exclusion rules, and a number that grows with every change of them."""

    @property
    def generation(self) -> int:
        """Grows with every change."""

    def find_site(self, hostname: str, /) -> Site | None:
        """Return the site that owns a normalised hostname."""

    def lists(self, site: Site, host: str) -> bool:
        """Return whether a host is one of the site's or below one."""

    def is_listed(self, host: str) -> bool:
        """Return whether any site lists a host, or a name above it."""

    def rules_since(self, generation: int) -> RuleChanges | None:
        """Return which rules have changed after a generation; None: too many to tell."""

    def exclusions(self) -> list[Exclusion]:
        """Return all rules in force."""

    def exclusions_of(self, owner: bytes | None) -> list[Exclusion]:
        """Return the rules in force of a site, or with None of the instance."""

    def holds(self, rules: Iterable[Rule]) -> set[Rule]:
        """Return those of `rules` that are in force."""

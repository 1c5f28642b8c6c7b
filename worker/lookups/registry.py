"""What the steps need of the registry; `shared.registry.Replica` is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shared.registry import Exclusion, Site


class Registry(Protocol):
    """Sites by hostname, exclusion rules, and a number that grows with every change of them."""

    generation: int
    find_site: Callable[[str], Site | None]

    def exclusions(self) -> list[Exclusion]:
        """Return all rules that apply."""

"""What a change of the registry concerns, so that only that is looked up or compiled again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

#: With more of anything, forgetting everything is quicker than looking for what is concerned.
_MOST: Final = 1_000


class Rule(NamedTuple):
    """What an exclusion says, whoever said it how often; `site_id` None: to every site."""

    site_id: bytes | None
    kind: str
    value: str


@dataclass
class Touched:
    """What has changed; `all`: too much to tell."""

    sites: set[bytes] = field(default_factory=set)
    #: Those of `sites` that were added or removed.
    come_or_gone: set[bytes] = field(default_factory=set)
    #: Hostnames that a site has begun to list, or lists since another time.
    hostnames: set[str] = field(default_factory=set)
    #: The hashes of clients' tokens, old and new.
    tokens: set[str] = field(default_factory=set)
    #: Clients whose grants have changed.
    grantees: set[bytes] = field(default_factory=set)
    rules: set[Rule] = field(default_factory=set)
    all: bool = False

    def bound(self) -> None:
        """Give up telling what it is when it is too much."""
        if self.all or any(len(each) > _MOST for each in self._sets()):
            self.all = True
            for each in self._sets():
                each.clear()

    @property
    def wildcards(self) -> tuple[str, ...]:
        """The ends of all names that wildcards among `hostnames` stand for, such as `.example.com`."""
        return tuple(hostname[1:] for hostname in self.hostnames if hostname.startswith("*."))

    def _sets(self) -> tuple[set[bytes], set[bytes], set[str], set[str], set[bytes], set[Rule]]:
        return self.sites, self.come_or_gone, self.hostnames, self.tokens, self.grantees, self.rules

"""What differs between a registry file and the registry, and what of the registry the file does not speak of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from deploy.registry_file.entries import ClientEntry, SiteEntry
from deploy.registry_file.parse import BadFile, Document
from deploy.registry_file.state import State
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Exclusion, Grant, Site
from shared.registry.old_grants import with_old_grants
from shared.registry.records import EVERY_SITE, EVERY_SITE_ID, Record
from shared.registry.touched import Rule


@dataclass
class Plan:
    """What to write, what to say of it, and what is left alone."""

    put: list[Record] = field(default_factory=list)
    remove: list[Record] = field(default_factory=list)
    #: One line each: `+` what is added, `~` what is changed, `-` what is removed.
    lines: list[str] = field(default_factory=list)
    #: Sites and clients that are new, by id; clients among them need a token.
    new: set[bytes] = field(default_factory=set)
    #: Things in the registry that are not in the file, by kind.
    left_alone: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.put and not self.remove


class Planner:
    """Compares a document with the registry's state; with `prune` what the document lacks is removed."""

    def __init__(self, document: Document, state: State, *, prune: bool, name: str) -> None:
        self._document = document
        self._state = state
        self._prune = prune
        self._name = name
        self.plan = Plan()
        #: Sites as they will be, by hostname: what the file says goes before what the registry has.
        self._listings: dict[str, Site] = {}

    def make(self) -> Plan:
        """Return the plan; raises `BadFile` where the file names a site that there is not."""
        for site in self._document.sites:
            self._plan_site(site)
        self._drop("site", self._state.sites.values(), {site.name for site in self._document.sites})
        for client in self._document.clients:
            self._plan_client(client)
        self._drop("client", self._state.clients.values(), {client.name for client in self._document.clients})
        self._plan_exclusions()
        self._warn_of_other_owners()
        return self.plan

    def _plan_site(self, entry: SiteEntry) -> None:
        old = self._state.sites.get(entry.name)
        if old is None:
            owner = self._state.site_of(entry.name)
            if owner is not None:
                raise BadFile(
                    f"{self._name}:{entry.line}: {entry.name} is a hostname of site {owner.name}, which keeps it:"
                    " remove that site first, or choose another name"
                )
            site = Site(uuid4().bytes, entry.name, entry.hostnames, **entry.fields)
            self.plan.new.add(site.site_id)
            self._put(site, f"+ site {site.name}: {', '.join(site.hostnames)}")
        else:
            site = merged_site(entry, old, prune=self._prune)
            if site != old:
                self._put(site, f"~ site {site.name}: {'; '.join(_differences(old, site))}")
            self._leave("hostname", len(set(site.hostnames) - set(entry.hostnames)))
        for hostname in site.hostnames:
            self._listings[hostname] = site

    def _plan_client(self, entry: ClientEntry) -> None:
        old = self._state.clients.get(entry.name)
        wanted = None if entry.grants is None else {self._site_id(site, entry.line) for site in entry.grants}
        if old is None:
            client = Client(uuid4().bytes, entry.name, **entry.fields)
            self.plan.new.add(client.client_id)
            has: set[bytes] = set()
        else:
            client, has = dataclasses.replace(old, **entry.fields), self._state.grants_of(old)
        added = sorted((wanted or set()) - has)
        gone = sorted(has - wanted) if wanted is not None and old is not None else []
        if not self._prune:
            self._leave("grant", len(gone))
            gone = []
        grants, ended = ([Grant(client.client_id, MANAGE_DATA, id) for id in ids] for ids in (added, gone))
        client = with_old_grants(client, grants, ended)
        if old is None:
            self._put(client, f"+ client {client.name}")
        elif client != old:
            changed = [f"{name} {getattr(client, name) or 'default'}" for name in _changed(old, client)]
            self._put(client, f"~ client {client.name}: {', '.join(changed)}" if changed else "")
        for grant in grants:
            self._put(grant, f"+ grant of {client.name}: {self._site_name(grant.site_id)}")
        for grant in ended:
            self._remove(grant, f"- grant of {client.name}: {self._site_name(grant.site_id)}")

    def _plan_exclusions(self) -> None:
        wanted: set[Rule] = set()
        for entry in self._document.exclusions:
            rule = Rule(None if entry.site is None else self._site_id(entry.site, entry.line), entry.kind, entry.value)
            wanted.add(rule)
            if rule not in self._state.rules:
                self._put(Exclusion(uuid4().bytes, rule.kind, rule.value, rule.site_id), f"+ {self._told(rule)}")
        if "exclusion" not in self._document.kinds:
            return
        for rule, records in self._state.rules.items():
            if rule not in wanted and not self._prune:
                self._leave("exclusion", 1)
            elif rule not in wanted:
                for record in records:
                    self._remove(record, f"- {self._told(rule)}")

    def _drop(self, kind: str, records: Iterable[Site | Client], named: set[str]) -> None:
        """Remove records that the file does not name, or leave them alone."""
        if kind not in self._document.kinds:
            return
        for record in records:
            if record.name not in named and self._prune:
                self._remove(record, f"- {kind} {record.name}")
            elif record.name not in named:
                self._leave(kind, 1)

    def _site_id(self, hostname: str, line: int) -> bytes:
        if hostname == EVERY_SITE:
            return EVERY_SITE_ID
        site = self._listings.get(hostname) or self._state.site_of(hostname)
        if site is None:
            raise BadFile(f"{self._name}:{line}: there is no site with the hostname {hostname}, in the file or else")
        return site.site_id

    def _site_name(self, site_id: bytes) -> str:
        named = self._state.site_names.get(site_id)
        if named is None:  # a new one
            self._state.site_names |= {site.site_id: site.name for site in self._listings.values()}
            named = self._state.site_names[site_id]
        return named

    def _told(self, rule: Rule) -> str:
        where = "all sites" if rule.site_id is None else self._site_name(rule.site_id)
        return f"exclusion of {where}: {rule.kind} {rule.value}"

    def _warn_of_other_owners(self) -> None:
        removed = {record.site_id for record in self.plan.remove if isinstance(record, Site)}
        for hostname, site in self._listings.items():
            owner = self._state.site_of(hostname)
            if owner is not None and owner.site_id != site.site_id and owner.site_id not in removed:
                self.plan.warnings.append(f"hostname {hostname} stays with site {owner.name}, which is older")

    def _put(self, record: Record, line: str) -> None:
        self.plan.put.append(record)
        self.plan.lines += [line] if line else []

    def _remove(self, record: Record, line: str) -> None:
        self.plan.remove.append(record)
        self.plan.lines.append(line)

    def _leave(self, kind: str, number: int) -> None:
        if number:
            self.plan.left_alone[kind] = self.plan.left_alone.get(kind, 0) + number


def merged_site(entry: SiteEntry, old: Site, *, prune: bool) -> Site:
    """Return a site with what an entry says of it; what it does not say stays."""
    known = () if prune else old.hostnames
    hostnames = tuple(dict.fromkeys([*known, *entry.hostnames]))
    if set(hostnames) == set(old.hostnames):
        hostnames = old.hostnames  # their order means nothing
    return dataclasses.replace(old, hostnames=hostnames, **entry.fields)


def _changed(old: Any, new: Any) -> Iterator[str]:
    """Yield the names of fields that differ, except those that are shown in another way, or not at all."""
    for each in dataclasses.fields(old):
        if each.name not in ("hostnames", "old_grants") and getattr(old, each.name) != getattr(new, each.name):
            yield each.name


def _differences(old: Site, new: Site) -> Iterator[str]:
    for name in _changed(old, new):
        yield f"{name} {_shown(getattr(old, name))} → {_shown(getattr(new, name))}"
    yield from (f"+ {hostname}" for hostname in new.hostnames if hostname not in set(old.hostnames))
    yield from (f"- {hostname}" for hostname in old.hostnames if hostname not in set(new.hostnames))


def _shown(value: Any) -> str:
    return " ".join(value) or "none" if isinstance(value, tuple) else str(value)

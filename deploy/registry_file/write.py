"""Writing a registry file: always in the same order, and only what is not the default, so that two can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from deploy.registry_file.entries import CLIENT_OPTIONS, SITE_OPTIONS
from deploy.registry_file.parse import SECTIONS
from deploy.registry_file.state import State
from shared.registry import Client, Site

#: What YAML reads as this very text: no number, date, word with a meaning, or sign.
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_NOT_TEXT: Final = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
_DEFAULTS: Final = {each.name: each.default for kind in (Site, Client) for each in fields(kind)}

#: Kind and fields of a record, in the order in which they are written.
Written = tuple[str, dict[str, Any]]


def records(state: State) -> Iterator[Written]:
    """Yield all records in order; a hostname that belongs to an older site is left out."""
    for name in sorted(state.sites):
        site = state.sites[name]
        listed = [each for each in site.hostnames if each != name and state.listings[each] is site]
        yield (
            "site",
            {"name": name, **({"hostnames": sorted(listed)} if listed else {}), **_options(site, SITE_OPTIONS)},
        )
    for name in sorted(state.clients):
        client = state.clients[name]
        granted = sorted(state.site_names[site_id] for site_id in state.grants_of(client))
        yield "client", {"name": name, **_options(client, CLIENT_OPTIONS), **({"grants": granted} if granted else {})}
    rules = sorted(state.rules, key=lambda rule: ((rule.site_id and state.site_names[rule.site_id]) or "", *rule[1:]))
    for rule in rules:
        where = {"site": state.site_names[rule.site_id]} if rule.site_id else {}
        yield "exclusion", {**where, rule.kind: rule.value}


def _options(record: Site | Client, options: Mapping[str, object]) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in options}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value != _DEFAULTS[name]
    }


def as_ndjson(written: Iterator[Written]) -> Iterator[str]:
    """Yield a line a record."""
    for kind, values in written:
        yield json.dumps({"kind": kind, **values}, ensure_ascii=False)


def as_yaml(written: Iterator[Written]) -> Iterator[str]:
    """Yield the lines of a YAML file."""
    section = ""
    for kind, values in written:
        if SECTIONS[kind] != section:
            section = SECTIONS[kind]
            yield f"{section}:"
        mark = "- "
        for name, value in values.items():
            if isinstance(value, list) and value:
                yield f"  {mark}{name}:"
                yield from (f"      - {_scalar(each)}" for each in value)
            else:
                yield f"  {mark}{name}: {_scalar(value)}"
            mark = "  "


def _scalar(value: Any) -> str:
    """Return a value as YAML; JSON's text in quotes is YAML's, too."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)

"""Reading a registry file: YAML with a list for each kind of record, or NDJSON with one record a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import yaml

from deploy.registry_file.entries import (
    FIELDS,
    BadValue,
    ClientEntry,
    Entry,
    ExclusionEntry,
    SiteEntry,
    make_entry,
)

#: The key of a kind's list in YAML.
SECTIONS: Final = {"site": "sites", "client": "clients", "exclusion": "exclusions"}
_KINDS: Final = {section: kind for kind, section in SECTIONS.items()}
#: Mistakes that an error names.
_NAMED: Final = 5
#: Line, kind, what the record is called in errors, and its fields with the line of each.
_Raw = tuple[int, str, str, dict[str, tuple[int, Any]]]


class BadFile(Exception):
    """The file says something that can't be; the message names lines and fields."""


@dataclass
class Document:
    """A file's entries, and the kinds of records that it speaks of: those it may be pruned to."""

    sites: list[SiteEntry] = field(default_factory=list)
    clients: list[ClientEntry] = field(default_factory=list)
    exclusions: list[ExclusionEntry] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)


def parse(data: bytes, name: str) -> Document:
    """Read a file; `name` is what errors call it.  NDJSON is what begins with `{`.  Raises `BadFile`."""
    document, problems = Document(), list[str]()
    try:
        data.decode()
        ndjson = data.lstrip().startswith(b"{")
        for raw in _records_of_lines(data) if ndjson else _records_of_yaml(data, document):
            _add(document, raw, name, problems)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problems.append(f"{name}:{line}: {error.problem}")
    except UnicodeDecodeError as error:
        problems.append(f"{name}:{data[: error.start].count(10) + 1}: is not UTF-8")
    except _Malformed as error:
        problems.append(f"{name}:{error.line}: {error}")
    problems += _duplicates(document, name)
    if problems:
        more = f"; and {len(problems) - _NAMED} more mistakes" if len(problems) > _NAMED else ""
        raise BadFile("; ".join(problems[:_NAMED]) + more)
    return document


class _Malformed(Exception):
    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _add(document: Document, raw: _Raw, name: str, problems: list[str]) -> None:
    line, kind, called, fields = raw
    values: dict[str, Any] = {}
    found = len(problems)
    for field_name, (at, value) in fields.items():
        read = FIELDS[kind].get(field_name)
        if read is None:
            problems.append(f"{name}:{at}: {called}.{field_name}: is unknown; use {', '.join(FIELDS[kind])}")
            continue
        try:
            values[field_name] = read(value)
        except BadValue as error:
            problems.append(f"{name}:{at}: {called}.{field_name}: {error}")
    if len(problems) == found:
        try:
            entry: Entry = make_entry(kind, line, values)
        except BadValue as error:
            problems.append(f"{name}:{line}: {called}: {error}")
            return
        document.kinds.add(kind)
        getattr(document, SECTIONS[kind]).append(entry)


def _records_of_lines(data: bytes) -> Iterator[_Raw]:
    for line, content in enumerate(data.split(b"\n"), 1):
        if not content.strip():
            continue
        try:
            record = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise _Malformed(line, f"is not JSON: {error}") from None
        if not isinstance(record, dict) or record.get("kind") not in SECTIONS:
            raise _Malformed(line, f"kind: must be one of {', '.join(SECTIONS)}")
        kind = record.pop("kind")
        yield line, kind, kind, {name: (line, value) for name, value in record.items() if value is not None}


def _records_of_yaml(data: bytes, document: Document) -> Iterator[_Raw]:
    root = yaml.compose(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if root is None:
        return
    for section, at, listed in _pairs(root, "the file"):
        if section not in _KINDS:
            raise _Malformed(at, f"{section}: is unknown; use {', '.join(_KINDS)}")
        document.kinds.add(_KINDS[section])
        for number, record in enumerate(_items(listed, section)):
            called = f"{section}[{number}]"
            values = {key: (line, _value(node)) for key, line, node in _pairs(record, called) if not _is_null(node)}
            yield record.start_mark.line + 1, _KINDS[section], called, values


def _pairs(node: Any, called: str) -> Iterator[tuple[str, int, Any]]:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise _Malformed(line, f"{called}: must have fields, such as `name: …`")
    seen = set()
    for key, value in node.value:
        if key.value in seen:
            raise _Malformed(key.start_mark.line + 1, f"{called}.{key.value}: is there twice")
        seen.add(key.value)
        yield str(key.value), key.start_mark.line + 1, value


def _items(node: Any, called: str) -> list[Any]:
    if _is_null(node):
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise _Malformed(node.start_mark.line + 1, f"{called}: must be a list")
    return list(node.value)


def _value(node: Any) -> Any:
    """Return a text as it is written (`NO` is a country here, not false), a list of them, or None for anything else."""
    if isinstance(node, yaml.SequenceNode):
        return [_value(each) if isinstance(each, yaml.ScalarNode) else None for each in node.value]
    return node.value if isinstance(node, yaml.ScalarNode) else None


def _is_null(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _duplicates(document: Document, name: str) -> list[str]:
    """Return what is said twice: a site's or client's name, a hostname of two sites, a rule."""
    keys: list[tuple[int, str]] = []
    keys += [(site.line, f"hostname {hostname}") for site in document.sites for hostname in site.hostnames]
    keys += [(client.line, f"client {client.name}") for client in document.clients]
    keys += [(rule.line, f"{rule.kind} {rule.value} of {rule.site or 'all sites'}") for rule in document.exclusions]
    counts = Counter(key for _, key in keys)
    first: dict[str, int] = {}
    found = []
    for line, key in keys:
        if counts[key] > 1 and first.setdefault(key, line) != line:
            found.append(f"{name}:{line}: {key} is there twice, first in line {first[key]}")
    return found

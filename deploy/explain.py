"""Taking one pageview through the worker's own steps and describing each decision; nothing is stored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

from gateway.intake import to_queued
from gateway.replies import Reason, Rejected
from gateway.validate import MAX_BODY_BYTES, PageviewRequest, parse_json, validate
from shared.clickhouse import ClickHouse
from shared.pageview import QueuedPageview
from shared.registry import Replica, Site, store
from shared.registry.owners import candidates
from shared.registry.records import Change
from shared.settings import QueueKeys
from worker.lookups.lookups import Lookups
from worker.lookups.salts import Salts
from worker.pipeline import Drop, build_steps, process, traced
from worker.row import COLUMN_TYPES, COLUMNS, Row, to_columns
from worker.settings import WorkerSettings
from worker.steps.put_visitor import Visitor

#: Columns that only the queue fills in.
_OF_THE_QUEUE: Final = frozenset({"client_id", "batch_id", "position"})
#: Which one it is only workers know, and only while the day has a salt.
_VISITORS_SESSION: Final = "derived: the visitor's of that day (UTC)"
_NIL: Final = bytes(16)


class ExplainSettings(WorkerSettings):
    """A worker's settings without queue keys, since the queue is not used."""

    queue_keys: QueueKeys = ()


class _AnySalt(Salts):
    """Stands for every day's salt: those of the workers are for them alone."""

    def of(self, day: int) -> bytes | None:
        """Return something, as if the day had a salt."""
        return day.to_bytes(32)


def check(body: bytes, changed: Mapping[str, str]) -> PageviewRequest:
    """Check a body like the gateway, with some fields `changed`; raises the gateway's `Rejected`."""
    if len(body) > MAX_BODY_BYTES:
        raise Rejected(Reason.TOO_LARGE)
    value = parse_json(body).value
    if isinstance(value, dict):
        # With a field changed it is no longer what was posted, so a missing timestamp defaults to now.
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        value = ({"timestamp": now} if changed else {}) | value | dict(changed)
    return validate(value, time.time_ns() // 1_000_000)


async def explain(checked: PageviewRequest, settings: WorkerSettings, clickhouse: ClickHouse) -> dict[str, Any]:
    """Take a checked pageview through the steps, using the registry in ClickHouse and this machine's lists.

    Returns `outcome`, `steps`, `problems` with lists and databases, and `rule` or `row`.
    """
    # A replica like a worker's, with only what matters for this pageview, and deleted afterwards.
    with TemporaryDirectory() as directory:
        replica = Replica(Path(directory), "explain")
        try:
            changes = await _relevant_changes(checked.url.hostname, clickhouse)
            _, touched = replica.apply(changes)
            replica.refreshed(touched)
            # Ids that are missing are nil here, since any would do.
            ids = (checked.session_id or _NIL, checked.page_id or _NIL)
            pageview = to_queued(checked, _NIL, time.time_ns() // 1_000_000, *ids)
            hostnames = {
                each.record.site_id: each.record.hostnames for each in changes if isinstance(each.record, Site)
            }
            lookups = Lookups(settings, replica)
            lookups.salts = _AnySalt()
            return _take_steps(pageview, lookups, hostnames)
        finally:
            replica.close()


async def _relevant_changes(hostname: str, clickhouse: ClickHouse) -> list[Change]:
    """Fetch the sites that may own the hostname, and all rules: a million sites are not needed for one answer."""
    sites = await store.sites_named(clickhouse, candidates(hostname))
    rules = await store.exclusions(clickhouse)
    return [*(Change(site, version=1) for site in sites), *(Change(rule, version=1) for rule in rules)]


def _take_steps(
    pageview: QueuedPageview, lookups: Lookups, hostnames: Mapping[bytes, tuple[str, ...]]
) -> dict[str, Any]:
    """`hostnames`: those of sites, by id, which a replica does not give with its sites."""
    steps: list[dict[str, Any]] = []

    def listen(name: str, answer: Any) -> None:
        full = replace(answer, hostnames=hostnames[answer.site_id]) if isinstance(answer, Site) else answer
        steps.append(_decision(name, full))

    listening = traced(build_steps(lookups), listen)
    result = process(pageview, listening)
    # Most installations have no ISP database: not a problem.
    problems = {name: text for name, text in lookups.problems.items() if name != "geo_isp" or "missing" not in text}
    if isinstance(result, Drop):
        return {"outcome": str(result.reason), "rule": result.rule, "steps": steps, "problems": problems}
    return {"outcome": "stored", "steps": steps, "problems": problems, "row": _columns(result)}


def _decision(name: str, answer: Any) -> dict[str, Any]:
    """Return a step's name, its decision (`pass`, `drop`, `put`), and what it found or the rule that matched."""
    if isinstance(answer, Drop):
        return {"step": name, "decision": "drop", "reason": str(answer.reason), "rule": answer.rule}
    if answer is None:
        return {"step": name, "decision": "pass"}
    return {"step": name, "decision": "put", "found": _found(name, answer)}


def _found(step: str, answer: Any) -> dict[str, Any]:
    """Return what a step found by name, leaving out what is unknown."""
    if isinstance(answer, Site):
        site = {"site": answer.name, "site_id": UUID(bytes=answer.site_id), "hostnames": list(answer.hostnames)}
        return site | _options(answer)
    if isinstance(answer, Visitor):
        return {"session": _VISITORS_SESSION if answer.visitor_id else "its own"}
    values = answer._asdict() if hasattr(answer, "_asdict") else {step.removeprefix("put_"): answer}
    known = {name: value for name, value in values.items() if value not in ("", None, 0)}
    if "qr_id" in known:
        known["qr_id"] = UUID(int=known["qr_id"])
    return known


def _options(site: Site) -> dict[str, Any]:
    """Return the site's options that are not the default."""
    names = ("query_keep", "query_drop", "hash_paths", "derived_sessions")
    options = {name: getattr(site, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items() if value}


def _columns(row: Row) -> dict[str, Any]:
    """Return the row as analysts will find it."""
    columns = to_columns([(row, _NIL, 0)])
    found: dict[str, Any] = {}
    for name, kind, (value,) in zip(COLUMNS, COLUMN_TYPES, columns, strict=True):
        if name in _OF_THE_QUEUE or name == "visitor_id":
            continue
        if name == "session_id" and row.visitor.visitor_id:
            found[name] = _VISITORS_SESSION
        elif "UUID" in kind and value is not None:
            found[name] = UUID(int=value)
        elif kind.startswith("DateTime64"):
            found[name] = datetime.fromtimestamp(value / 1000, UTC)
        else:
            found[name] = value
    return found

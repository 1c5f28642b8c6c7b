"""The statements of the migrations as a cluster needs them; the SQL files say what a single server gets."""

from __future__ import annotations

import re
from typing import Final

from shared.cluster import on_cluster

#: What the replicas execute each for themselves; of what changes rows (INSERT), one does and the others fetch.
_DDL: Final = re.compile(
    r"((?:CREATE|DROP|ALTER) (?:OR REPLACE )?(?:MATERIALIZED VIEW|VIEW|TABLE|DATABASE) (?:IF (?:NOT )?EXISTS )?[\w.]+)",
    re.IGNORECASE,
)
_INSERT: Final = re.compile(r"INSERT INTO\b", re.IGNORECASE)
#: Without arguments for the path, which follows from the server's `default_replica_path` and macros.
_ENGINE: Final = re.compile(r"(\bENGINE = )(\w*MergeTree\b)")
_WINDOW: Final = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")
#: As long as a block may be repeated that no majority has confirmed: a server's own hour is too short.
_WINDOW_SECONDS: Final = 7 * 86_400
_FSYNC: Final = "fsync_after_insert = 1"
#: What a replica fetches is on its disk before it counts for the majority.
_FSYNC_FETCHED: Final = "min_compressed_bytes_to_fsync_after_fetch = 1"


def render(statement: str, cluster: str) -> str:
    """Return a statement of a migration, as it is for "" and otherwise for the cluster of that name.

    Raises `ValueError` for a kind of statement that nobody has decided on yet.
    """
    if not cluster or _INSERT.match(statement):
        return statement
    text, found = _DDL.subn(lambda match: match[1] + on_cluster(cluster), _collapsed(statement), count=1)
    if not found or not _DDL.match(text):
        raise ValueError(f"how does a cluster execute {statement[:60]!r}?")
    if _ENGINE.search(text):
        text = _replicated(text)
    return text


def _replicated(create: str) -> str:
    create = _ENGINE.sub(r"\1Replicated\2", create)
    create = create.replace(_FSYNC, f"{_FSYNC}, {_FSYNC_FETCHED}")
    window, found = _WINDOW.subn(
        rf"replicated_deduplication_window = \1, replicated_deduplication_window_seconds = {_WINDOW_SECONDS}", create
    )
    if found:
        return window
    # Equal blocks are different ones, as on a single server: replicated tables would keep the first only.
    joint = ", " if re.search(r"\bSETTINGS\b", create) else " SETTINGS "
    return f"{create}{joint}replicated_deduplication_window = 0"


def _collapsed(statement: str) -> str:
    return " ".join(statement.split())

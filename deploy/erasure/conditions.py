"""What to erase, and the SQL condition for it, which reads its values from a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from worker.lookups.escapes import decoded
from worker.lookups.paths import canonical

if TYPE_CHECKING:
    from clickhouse_connect.driver.external import ExternalData

#: What makes a pageview the same pageview.
IDENTITY: Final = "site_id, timestamp, session_id, page_id"
#: Where the values are: in a request's record, or in a table that comes with the statement.
RECORDED: Final = "(SELECT * FROM hitline_control.erasures FINAL WHERE erasure_id = {erasure:UUID})"
GIVEN: Final = "asked"
#: What tells the id of a visitor: its version, and the last bits, which are zero.  In the id of a derived session these
#: are the millisecond of the day at which it begins.
VISITORS_VERSION: Final = 8
LAST_BITS: Final = (1 << 28) - 1
_STRUCTURE: Final = ["sites Array(UUID)", "session_id Nullable(UUID)", "paths Array(String)", "prefixes Array(String)"]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What to erase: pageviews that match all conditions given; at least one must be.

    `path` may end with `*` to match a prefix; it is looked up in its canonical form and as given, since rows from
    before paths were canonical have theirs as sent.  `time_from` is inclusive, `time_to` exclusive.  A condition that
    is None is not given; an empty one is refused, since it would erase more than intended.
    """

    sites: tuple[UUID, ...] | None = None
    session_id: UUID | None = None
    path: str | None = None
    time_from: datetime | None = None
    time_to: datetime | None = None
    erasure_id: UUID | None = None

    def condition(self, source: str = RECORDED) -> tuple[str, dict[str, Any]]:
        """Return the condition on `pageviews_raw` and its parameters; raises `ValueError` for empty conditions.

        `source`: `RECORDED`, or `GIVEN` for a statement that `external` comes with.
        """
        if self.sites == () or self.path in ("", "*"):
            raise ValueError("an erasure of no site, or of an empty path, would erase more than intended")
        prefix = "arrayExists(prefix -> startsWith(path, prefix), (SELECT any(prefixes) FROM {source}))"
        parts = {
            "site_id IN (SELECT arrayJoin(sites) FROM {source})": self.sites,
            self._session_column + " IN (SELECT assumeNotNull(session_id) FROM {source})": self.session_id,  # noqa: S608
            prefix: self.prefixes,
            "path IN (SELECT arrayJoin(paths) FROM {source})": self.paths,
            "timestamp >= {from:DateTime64(3, 'UTC')}": self.time_from,
            "timestamp < {to:DateTime64(3, 'UTC')}": self.time_to,
        }
        given = [sql.replace("{source}", source) for sql, value in parts.items() if value]
        if not given:
            raise ValueError("an erasure needs a condition: a site, a session, a path or a time")
        parameters = {"from": self.time_from, "to": self.time_to, "erasure": self.erasure_id and str(self.erasure_id)}
        return " AND ".join(given), {name: value for name, value in parameters.items() if value is not None}

    @property
    def _session_column(self) -> str:
        """A visitor's id (deploy/erasure/derived.py) takes the place of a session's; no forwarder's looks like one."""
        id = self.session_id
        return "visitor_id" if id and id.version == VISITORS_VERSION and not id.int & LAST_BITS else "session_id"

    @property
    def paths(self) -> list[str]:
        """The spellings of a whole path."""
        return _spellings(self.path) if self.path and not self.path.endswith("*") else []

    @property
    def prefixes(self) -> list[str]:
        """The spellings of a path's beginning."""
        return _spellings(self.path[:-1], is_prefix=True) if self.path and self.path.endswith("*") else []

    def external(self) -> ExternalData:
        """Return the values as a table that goes with a statement."""
        from clickhouse_connect.driver.external import ExternalData

        row = {
            "sites": [str(site) for site in self.sites or ()],
            "session_id": self.session_id and str(self.session_id),
            "paths": self.paths,
            "prefixes": self.prefixes,
        }
        data = json.dumps(row).encode()
        return ExternalData(file_name=GIVEN, data=data, fmt="JSONEachRow", structure=_STRUCTURE)


def _spellings(path: str, *, is_prefix: bool = False) -> list[str]:
    """Return a path as given, canonical and decoded; a prefix with dot segments as given: without, it is wider."""
    if is_prefix and "/." in path:
        return [path]
    form = canonical(path)
    return sorted({path, form, decoded(form)})

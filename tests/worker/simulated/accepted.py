"""What a gateway accepted, what is to become of each pageview, and whether that is what became of it."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aio_pika

from shared import message as messages
from shared.outcomes import Outcome
from shared.pageview import SCHEMA_VERSION, QueuedPageview, join, pack
from shared.seal import Sealer
from tests.worker.factories import OTHER_SITE, SITE, pageview
from tests.worker.simulated.broker import Broker
from tests.worker.simulated.clickhouse import Engine, StoredRow
from tests.worker.store.test_revise import ROW
from worker.delivery import NIL, PageviewKey, PageviewOutcome
from worker.drop import Drop
from worker.pipeline import Steps

CLIENTS = b"a" * 16, b"b" * 16
DAY_MS = 86_400_000
#: What may become of a pageview; by the last two it is a dead letter.
FINAL = ("stored", "other site", "dnt", "unknown site")
FATES = (*FINAL, "poison", "refused")
#: How long ago it was: of two partitions of today's rows, and of two of old ones.
AGES_MS = (3_600_000, 20 * DAY_MS, 62 * DAY_MS, 400 * DAY_MS)


class Plan(NamedTuple):
    """A pageview to accept."""

    fate: str
    client_id: bytes
    age_ms: int
    #: Between receipt and midnight.
    late_s: int


@dataclass(eq=False)
class Accepted:
    """The ledger: each pageview by its page id."""

    now_ms: int
    views: dict[bytes, tuple[PageviewKey, QueuedPageview]] = field(default_factory=dict)
    fates: dict[bytes, str] = field(default_factory=dict)
    pages: dict[PageviewKey, bytes] = field(default_factory=dict)
    changed: bool = False

    def accept(self, plans: Sequence[Plan], key: bytes) -> aio_pika.Message:
        """Return the message of some pageviews, as a gateway publishes it."""
        batch_id = uuid.UUID(int=len(self.views) + 1)
        midnight_ms = self.now_ms // DAY_MS * DAY_MS - DAY_MS
        views = []
        for position, plan in enumerate(plans):
            page_id = (len(self.views) + 1).to_bytes(16)
            view = pageview(
                client_id=plan.client_id,
                received_ms=midnight_ms + 1000 * plan.late_s,
                timestamp_ms=self.now_ms - plan.age_ms - len(self.views),
                page_id=page_id,
            )
            self.views[page_id] = (batch_id.bytes, position), view
            self.pages[batch_id.bytes, position] = page_id
            self.fates[page_id] = plan.fate
            views.append(view)
        message = messages.build(messages.Headers(batch_id, len(views), 0), join(list(map(pack, views))), Sealer([key]))
        message.timestamp = datetime.fromtimestamp(midnight_ms / 1000 + plans[-1].late_s, UTC) + timedelta(seconds=1)
        return message

    def steps(self) -> Steps:
        """Return the steps of a pipeline that brings about what is planned."""
        nothing: Any = lambda *_: None  # noqa: E731
        made = Steps(*[nothing] * len(Steps._fields))._replace(put_site=self._put_site, drop_dnt=self._drop_dnt)
        return made._replace(**{f"put_{name}": lambda *_, name=name: getattr(ROW, name) for name in ROW._fields[1:8]})

    def _put_site(self, view: QueuedPageview) -> Any:
        fate = self.fates[view.page_id]
        if fate == "poison":
            raise ZeroDivisionError
        if fate == "unknown site":
            return Drop(Outcome.UNKNOWN_SITE, None, "no site")
        return OTHER_SITE if fate == "other site" else SITE

    def _drop_dnt(self, view: QueuedPageview, site: Any) -> Drop | None:
        return Drop(Outcome.DNT, site.site_id, "dnt") if self.fates[view.page_id] == "dnt" else None

    def refuses(self, row: StoredRow) -> bool:
        """Tell whether a constraint of the table is violated."""
        return self.fates[row.page_id] == "refused"

    def change(self, number: int, fate: str) -> None:
        """Change what is to become of every third pageview, as rules do."""
        for page_id in list(self.views)[number % 3 :: 3]:
            self.changed = self.changed or self.fates[page_id] in FINAL
            self.fates[page_id] = fate

    def end_well(self) -> None:
        """Let nothing be poison any more."""
        for page_id, fate in self.fates.items():
            if fate not in FINAL:
                self.fates[page_id] = "stored"

    def expected(self) -> Counter[PageviewOutcome]:
        """Return the outcomes of all pageviews, unless what was to become of them has changed."""
        return Counter(_outcome(view, self.fates[page_id]) for page_id, (_, view) in self.views.items())


def _outcome(view: QueuedPageview, fate: str) -> PageviewOutcome:
    minute = view.received_ms // 60_000 * 60
    if fate == "dnt":
        return PageviewOutcome(minute, SITE.site_id, view.client_id, Outcome.DNT)
    if fate == "unknown site":
        return PageviewOutcome(minute, NIL, view.client_id, Outcome.UNKNOWN_SITE)
    site = OTHER_SITE if fate == "other site" else SITE
    return PageviewOutcome(minute, site.site_id, view.client_id, Outcome.STORED)


def check_always(accepted: Accepted, engine: Engine, broker: Broker) -> None:
    """What is true at any moment."""
    assert broker.faults == []
    for key, rows in engine.rows.items():
        _, view = accepted.views[accepted.pages[key]]
        assert len(rows) == 1, "stored once, also before anything is merged"
        assert rows[0][2:6] == (view.client_id, view.timestamp_ms, view.received_ms, view.page_id)
    stored = _stored(engine)
    for end, number in engine.counted().items():
        assert number > 0
        if end.outcome == Outcome.STORED:
            assert stored[end] >= number, "nothing counts as stored that is not"


def check_settled(accepted: Accepted, engine: Engine, broker: Broker, message: aio_pika.Message) -> None:
    """What is true of a message that has just been acknowledged: all of it is stored, dropped or a dead letter."""
    assert message.headers["schema"] == SCHEMA_VERSION, "what only a newer worker can read is left to it"
    batch_id = uuid.UUID(message.message_id)
    pageviews = [key for key in accepted.pages if key[0] == batch_id.bytes]
    repeated = message.headers["repeated"] is True
    position: Any = message.headers["first_position"]
    part = position + 1 if repeated else 0
    assert message.timestamp is not None
    assert (message.timestamp.date(), batch_id, part) in engine.outcomes, "counted before it is acknowledged"
    counted = engine.counted(batch_id)
    assert counted.total() == len(pageviews), "each pageview has one outcome"
    dead = sum(number for end, number in counted.items() if end.outcome == Outcome.DEAD_LETTERED)
    letters = {
        (each.headers["first_position"] if each.headers["repeated"] else None)
        for each in [*broker.dead, *(queued.message for queued in broker.queue)]
        if each.message_id == message.message_id
    }
    if None not in letters:
        assert len(letters) >= dead, "each dead letter is there"


def check_end(accepted: Accepted, engine: Engine) -> None:
    """What is true once everything has been settled, and no dead letter is left."""
    counted = engine.counted()
    by_client: Counter[tuple[int, bytes]] = Counter()
    for end, number in counted.items():
        by_client[end.minute, end.client_id] += number
    assert by_client == Counter(
        (view.received_ms // 60_000 * 60, view.client_id) for _, view in accepted.views.values()
    ), "by minute and client, as many outcomes as pageviews"
    stored = {end: number for end, number in counted.items() if end.outcome == Outcome.STORED}
    assert stored == _stored(engine), "what counts as stored is stored"
    assert Outcome.DEAD_LETTERED not in {end.outcome for end in counted}
    if not accepted.changed:
        assert counted == accepted.expected()


def _stored(engine: Engine) -> Counter[PageviewOutcome]:
    return Counter(
        PageviewOutcome(rows[0].received_ms // 60_000 * 60, rows[0].site_id, rows[0].client_id, Outcome.STORED)
        for rows in engine.rows.values()
        if rows
    )

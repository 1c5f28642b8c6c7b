"""A message's results in view of ClickHouse: what it has stored already, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from shared.outcomes import Outcome
from worker.delivery import PageviewKey, PageviewOutcome, Poison, ProcessedMessage

_NONE: Final[Mapping[PageviewKey, Any]] = MappingProxyType({})


def revise(
    message: ProcessedMessage,
    *,
    stored: Mapping[PageviewKey, bytes] = _NONE,
    replayed: Mapping[PageviewKey, PageviewOutcome] = _NONE,
    refused: Mapping[PageviewKey, str] = _NONE,
) -> ProcessedMessage:
    """Return the message's results, changed by what ClickHouse says about some of its pageviews.

    `stored`: site under which an earlier delivery stored the pageview.  It stays stored there, even if processing
    says otherwise now, and is not inserted again.
    `replayed`: outcome under which an earlier delivery dead-lettered a pageview that has been replayed since.  The
    replay's own count takes that outcome back, so this message keeps it, unless it is such a replay itself.
    `refused`: why ClickHouse refuses the row, which becomes poison.
    """
    if message.headers is None:
        return message
    batch_id = message.headers.batch_id.bytes
    if message.headers.repeated:
        replayed = _NONE
    rows, outcomes = dict(message.rows), dict(message.outcomes)
    settled = set[int]()
    poison = []
    items: Sequence[Any] = ()
    for position, outcome in message.outcomes.items():
        key = batch_id, position
        if key in replayed:
            outcomes[position] = replayed[key]
        elif key in stored:
            outcomes[position] = outcome._replace(site_id=stored[key], outcome=Outcome.STORED)
        elif key in refused and position in rows:
            del rows[position]
            items = items or message.reopen()
            item = items[position - message.headers.first_position]
            poison.append(Poison(position, item, f"ClickHouse: {refused[key]}", admitted=True))
            outcomes[position] = outcome._replace(outcome=Outcome.DEAD_LETTERED)
            continue
        else:
            continue
        settled.add(position)
        rows.pop(position, None)
    kept = [each for each in message.poison if each.position not in settled]
    return replace(message, rows=rows, outcomes=outcomes, poison=(*kept, *poison))

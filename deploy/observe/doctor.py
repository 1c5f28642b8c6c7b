"""Looks at everything that an instance consists of, and says what is wrong with it and how to mend it.

Changes nothing: what it sends to the broker and to ClickHouse only reads, or is refused.  Each part is looked at by
itself, so that one that does not answer hides nothing about the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from deploy.observe.checks import broker, clickhouse, limits, lookups, machine, processes, settings
from deploy.observe.context import Context
from deploy.observe.finding import Finding, unknown

Check = Callable[[Context], AsyncIterator[Finding]]

#: Name of a part and its check, in the order in which they are reported.
PARTS: Final[Mapping[str, Check]] = {
    "settings": settings.check,
    "machine": machine.check,
    "lookups": lookups.check,
    "broker": broker.check,
    "clickhouse": clickhouse.check,
    "limits": limits.check,
    "processes": processes.check,
}
#: No part may keep the others waiting for longer.
_PART_SECONDS: Final = 60.0


async def examine(context: Context) -> dict[str, list[Finding]]:
    """Return what is wrong, by part; a part with nothing wrong has an empty list.  Raises nothing."""
    found = await asyncio.gather(*(_examine_part(name, check, context) for name, check in PARTS.items()))
    return dict(zip(PARTS, found, strict=True))


async def _examine_part(name: str, check: Check, context: Context) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(_PART_SECONDS):
            async for finding in check(context):
                found.append(finding)
    except TimeoutError:
        found.append(unknown(name, f"no answer within {_PART_SECONDS:.0f} s", "try again; see the logs of this part"))
    except Exception as error:  # noqa: BLE001 - a check that fails must not hide what others find
        found.append(unknown(name, f"can't be looked at: {type(error).__name__}", "this is a bug in hitline"))
    return found

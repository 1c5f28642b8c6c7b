"""The table at the end: what became of every line, with the first examples of each reason."""

from __future__ import annotations

from typing import Any, Final

from deploy.replay.tally import Example, Fate, Reason, Tally
from deploy.replay.text import decode, masked
from shared.terminal import visible

_WIDTH: Final = 110
_NAME: Final = 50


def titles(dry_run: bool) -> dict[Fate, str]:
    """Return how the table names each kind of end."""
    return {
        Fate.ACCEPTED: "would be sent" if dry_run else "accepted",
        Fate.REFUSED: "refused by the gateway",
        Fate.LEFT_OUT: "left out",
        Fate.MALFORMED: "malformed",
        Fate.NO_REQUEST: "no request",
    }


def table(tally: Tally, *, dry_run: bool) -> str:
    """Return it as text; what is of the log is shown without control characters and addresses."""
    named = titles(dry_run)
    rows = [(f"{count:,}", _label(named, reason), tally.examples.get(reason, [])) for reason, count in _sorted(tally)]
    rows.append((f"{tally.lines:,}", "lines in all", []))
    width = max(len(number) for number, _, _ in rows)
    lines = []
    for number, label, examples in rows:
        lines.append(f"{number:>{width}}  {label}")
        lines += [f"{'':{width}}    {_example(example)}" for example in examples]
    return "\n".join(lines)


def as_json(tally: Tally, problems: list[str], *, dry_run: bool) -> dict[str, Any]:
    """Return the same for scripts."""
    named = titles(dry_run)
    return {
        "lines": tally.lines,
        "accepted": tally.of(Fate.ACCEPTED),
        "reasons": [
            {
                "lines": count,
                "fate": named[reason.fate],
                "reason": reason.text,
                "examples": [
                    {"log": each.log, "number": each.number, "line": _shown(each.line)}
                    for each in tally.examples.get(reason, [])
                ],
            }
            for reason, count in _sorted(tally)
        ],
        "problems": problems,
    }


def _sorted(tally: Tally) -> list[tuple[Reason, int]]:
    return sorted(tally.counts.items(), key=lambda each: (each[0].fate, -each[1], each[0].text))


def _label(named: dict[Fate, str], reason: Reason) -> str:
    return f"{named[reason.fate]}: {visible(reason.text, _WIDTH)}" if reason.text else named[reason.fate]


def _example(example: Example) -> str:
    name = example.log if len(example.log) <= _NAME else f"…{example.log[1 - _NAME :]}"
    return f"{visible(name, _NAME)}:{example.number}: {_shown(example.line)}"


def _shown(line: bytes) -> str:
    return visible(masked(decode(line[:1000])), _WIDTH)

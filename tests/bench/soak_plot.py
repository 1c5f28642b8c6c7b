"""The plot of a soak: memory, tasks, answers and latency over its time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench.plots import COLOURS, new, save
from tests.bench.soak_parts import Sample

#: The load says once a second what was accepted, and samples may be more frequent.
_SMOOTH = 5


def draw(samples: Sequence[Sample], path: Path, seconds: float) -> Path:
    """Draw all samples below each other; returns the SVG file, which has a PNG beside it."""
    figure, (memory, held, rate, latency) = new(8, 8, nrows=4, sharex=True)
    unit, scale = ("minutes", 60) if seconds > 300 else ("seconds", 1)
    at = [each.seconds / scale for each in samples]
    for name, colour in zip(("gateway", "worker", "front"), COLOURS, strict=False):
        parts = [each.parts.get(name) for each in samples]
        memory.plot(at, [part.mib if part else None for part in parts], color=colour, label=name)
        held.plot(at, [part.files if part else None for part in parts], color=colour, label=f"{name}, files")
        label = f"{name}, {'threads' if name == 'front' else 'tasks'}"
        held.plot(at, [part.tasks if part else None for part in parts], ":", color=colour, label=label)
    rate.plot(at[_SMOOTH:], [_rate(*ends) for ends in zip(samples, samples[_SMOOTH:], strict=False)], color=COLOURS[2])
    latency.plot(at, [each.p99_ms or None for each in samples], color=COLOURS[3])
    latency.set_yscale("log")
    memory.set_ylabel("resident MiB")
    held.set_ylabel("files, tasks")
    rate.set_ylabel("accepted a second")
    latency.set_ylabel("p99, ms")
    memory.set_ylim(0, memory.get_ylim()[1] * 1.2)
    held.set_ylim(0, held.get_ylim()[1] * 1.4)
    rate.set_ylim(bottom=0)
    memory.legend(ncols=3, frameon=False, fontsize=8, loc="upper left")
    held.legend(ncols=3, frameon=False, fontsize=7, loc="upper left")
    latency.set_xlabel(unit)
    return save(figure, path)


def _rate(one: Sample, other: Sample) -> float:
    return max(0.0, (other.accepted - one.accepted) / max(0.001, other.seconds - one.seconds))

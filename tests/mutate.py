"""`make mutate`: changes the code in small ways, one at a time, and shows which changes no test notices.

Over the modules where a fault costs data, money or privacy, a module at a time, each with the few fast tests that are
about it.  mutmut keeps what it has found in `.local/mutate`: a run that was stopped goes on where it was, and one after
a change of the code tries the functions again that changed.  Not for CI: an hour or two for all of them.

    make mutate                 all modules
    make mutate ONLY="seal ids" these
    .venv/bin/python -m tests.mutate --show ids     the changes that nothing noticed
    .venv/bin/python -m tests.mutate --again ids    from the beginning, such as after new tests
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
WORK: Final = ROOT / ".local" / "mutate"
PACKAGES: Final = ("gateway", "worker", "shared", "deploy")
#: Expressions on lines with these are left as they are: what is logged, and what is told of a type.
LEFT: Final = (r"\blog\.(debug|info|warning|error)\(", r"\bTypeVar\(")
_CHILDREN: Final = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Module:
    """Files to change, and the tests that are to notice."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


#: Name of a module → its files and tests, all of them relative to the repository.
MODULES: Final = {
    "ids": Module(("gateway/ids.py",), ("tests/gateway/test_ids.py", "tests/gateway/test_intake.py")),
    "limits": Module(
        ("gateway/rate_limit.py", "gateway/rate_counters.py", "gateway/window_storage.py"),
        (
            "tests/gateway/test_rate_limit.py",
            "tests/gateway/test_rate_limit_model.py",
            "tests/gateway/test_rate_counters.py",
        ),
    ),
    "encodings": Module(("gateway/encoding.py",), ("tests/gateway/test_encoding.py",)),
    "publishing": Module(
        ("gateway/publish.py",), ("tests/gateway/test_publish.py", "tests/gateway/test_publish_order.py")
    ),
    "answers": Module(
        ("gateway/replies.py", "gateway/results.py", "gateway/batch.py", "gateway/authorize.py"),
        (
            "tests/gateway/test_replies.py",
            "tests/gateway/test_results.py",
            "tests/gateway/test_pageviews.py",
            "tests/gateway/test_batch.py",
            "tests/gateway/test_authorize.py",
        ),
    ),
    "message": Module(
        ("shared/message.py", "shared/properties.py"),
        ("tests/shared/test_message.py", "tests/shared/test_properties.py"),
    ),
    "pageview": Module(("shared/pageview.py",), ("tests/shared/test_pageview.py",)),
    "seal": Module(("shared/seal.py",), ("tests/shared/test_seal.py",)),
    "hostnames": Module(
        ("shared/hostnames.py", "shared/registry/owners.py"),
        ("tests/shared/test_hostnames.py", "tests/shared/registry/test_owners.py"),
    ),
    "registry": Module(
        (
            "shared/registry/replica.py",
            "shared/registry/reader.py",
            "shared/registry/apply.py",
            "shared/registry/apply_grants.py",
            "shared/registry/cache.py",
            "shared/registry/touched.py",
            "shared/registry/rule_log.py",
        ),
        (
            "tests/shared/registry/test_reader.py",
            "tests/shared/registry/test_replica.py",
            "tests/shared/registry/test_replica_changes.py",
        ),
    ),
    "judging": Module(
        ("worker/consume/process.py", "worker/delivery.py"),
        (
            "tests/worker/consume/test_process.py",
            "tests/worker/consume/test_process_values.py",
            "tests/worker/test_delivery.py",
        ),
    ),
    "pipeline": Module(("worker/pipeline.py",), ("tests/worker/test_pipeline.py",)),
    "batches": Module(
        ("worker/store/batch.py", "worker/store/lanes.py", "worker/store/write.py"),
        (
            "tests/worker/store/test_batch.py",
            "tests/worker/store/test_tokens.py",
            "tests/worker/store/test_write.py",
            "tests/worker/store/test_old_rows.py",
            "tests/worker/store/test_settling_ledger.py",
        ),
    ),
    "inserting": Module(
        ("worker/store/insert.py", "worker/store/retry.py", "worker/store/errors.py"),
        ("tests/worker/store/test_insert.py", "tests/worker/store/test_retry.py", "tests/worker/store/test_errors.py"),
    ),
    "look-ups": Module(("worker/store/lookup.py", "worker/store/sought.py"), ("tests/worker/store/test_lookup.py",)),
    "dead-letters": Module(
        ("worker/dead_letters/limiter.py", "worker/dead_letters/publisher.py"),
        (
            "tests/worker/dead_letters/test_limiter.py",
            "tests/worker/dead_letters/test_publisher.py",
            "tests/worker/dead_letters/test_confirms.py",
        ),
    ),
    "settling": Module(
        ("worker/store/settle.py", "worker/store/revise.py", "worker/store/outcomes.py"),
        (
            "tests/worker/store/test_acknowledging.py",
            "tests/worker/store/test_outcomes.py",
            "tests/worker/store/test_revise.py",
            "tests/worker/store/test_settle.py",
            "tests/worker/store/test_settling_ledger.py",
        ),
    ),
    # Of these, what is decided without an engine; their statements are tested on one.
    "reconcile": Module(
        ("deploy/cli/reconcile.py",),
        ("tests/deploy/cli/test_reconcile_figures.py", "tests/deploy/cli/test_reconcile_noting.py"),
    ),
    "erasure": Module(
        ("deploy/erasure/conditions.py", "deploy/erasure/clocks.py", "deploy/erasure/months.py"),
        ("tests/deploy/erasure/test_conditions.py", "tests/deploy/erasure/test_decisions.py"),
    ),
    "rollups": Module(
        ("deploy/rollups/zones.py", "deploy/rollups/zone_rules.py"), ("tests/deploy/rollups/test_zone_decisions.py",)
    ),
    "retention": Module(("worker/steps/drop_too_old.py",), ("tests/worker/steps/test_drop_too_old.py",)),
}


def prepare(name: str) -> Path:
    """Lay out the folder in which mutmut works on a module: the tree by links, and its settings."""
    module = MODULES[name]
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for entry in (*PACKAGES, "tests", "docs"):
        if not (folder / entry).exists():
            (folder / entry).symlink_to(ROOT / entry)
    settings = {
        "source_paths": list(PACKAGES),
        "only_mutate": list(module.files),
        "do_not_mutate_patterns": list(LEFT),
        "also_copy": ["docs"],
        "pytest_add_cli_args": ["-m", "not full and not processes", "-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": list(module.tests),
        "use_git_change_detection": False,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]  # JSON of these is TOML as well
    project = (ROOT / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text("\n".join([project, "[tool.mutmut]", *lines, ""]))
    return folder


def mutmut(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run mutmut on a module."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=WORK / name, text=True, stdout=subprocess.PIPE, check=False)


def fates(name: str) -> dict[str, str]:
    """Return what became of each change of a module, by its name."""
    lines = [line.strip() for line in mutmut(name, "results", "--all", "true").stdout.splitlines()]
    return dict(line.rsplit(": ", 1) for line in lines if ": " in line)


def summary(name: str) -> str:
    """Return a module's line of the table."""
    counts = Counter(fates(name).values())
    noticed = counts["killed"] + counts["timeout"] + counts["segfault"] + counts["suspicious"]
    total = counts.total()
    left = ", ".join(
        f"{number} {fate}" for fate, number in counts.items() if fate in ("survived", "no tests", "not checked")
    )
    return f"{name:12} {noticed:5} of {total:5} noticed, {100 * noticed / max(1, total):5.1f} %   {left}"


def show(name: str) -> None:
    """Print the changes of a module that nothing noticed."""
    left = [mutant for mutant, fate in fates(name).items() if fate in ("survived", "no tests")]
    script = (
        "import sys; from mutmut.__main__ import cli\n"
        "for mutant in sys.argv[1:]: cli(['show', mutant], standalone_mode=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *left], cwd=WORK / name, text=True, stdout=subprocess.PIPE, check=True
    )
    for line in done.stdout.splitlines():
        if line[:1] in "#+-" and line[:3] not in ("+++", "---"):
            print(line)


def main() -> int:
    parser = argparse.ArgumentParser(description="Change the code, and see which tests notice.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}; all if none is named")
    parser.add_argument("--show", action="store_true", help="only print the changes that nothing noticed")
    parser.add_argument("--again", action="store_true", help="forget what was found before, such as after new tests")
    options = parser.parse_args()
    if unknown := set(options.modules) - MODULES.keys():
        parser.error(f"no such module: {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    names = options.modules or list(MODULES)
    failed = False
    for name in names:
        if options.again:
            shutil.rmtree(WORK / name, ignore_errors=True)
        prepare(name)
        if options.show:
            show(name)
            continue
        done = mutmut(name, "run", "--max-children", str(_CHILDREN))
        if done.returncode:
            failed = True
            print(done.stdout[-4000:], file=sys.stderr)
        print(summary(name), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

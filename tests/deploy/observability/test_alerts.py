"""Every alert is caused for real in a running stack, reaches Alertmanager, and ends when its cause does."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.deploy.observability import watched
from tests.deploy.observability.causes import CAUSES, Again, Cause
from tests.deploy.observability.test_dashboards import FROM_BROKER, queries_without_data
from tests.deploy.observability.test_rules import rules, targets
from tests.programs import ALERTMANAGER, PROMETHEUS, available

_FIRE_S = 180.0
_END_S = 180.0


def test_each_alert_has_a_cause() -> None:
    assert sorted(name for cause in CAUSES for name in cause.alerts) == sorted(rule["alert"] for rule in rules())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[watched.Watched]:
    """A whole stack of this module's own, with Prometheus and Alertmanager."""
    for program in (PROMETHEUS, ALERTMANAGER):
        if reason := available(program):
            pytest.skip(reason)
    with watched.watched(tmp_path_factory.mktemp("watched")) as running:
        yield running


@pytest.mark.full
@pytest.mark.processes
def test_a_healthy_stack_has_no_alert(stack: watched.Watched) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert stack.system.post().status == 202
        time.sleep(0.2)
    assert stack.alertmanager.changes == []


@pytest.mark.full
@pytest.mark.processes
def test_panels_of_the_broker_have_data(stack: watched.Watched) -> None:
    expressions = [target["expr"] for target in targets("prometheus") if FROM_BROKER in target["expr"]]
    assert expressions
    assert _repeat(stack.system.post, lambda: not queries_without_data(stack.prometheus, expressions), _FIRE_S)


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.bring_about.__name__)
def test_alerts_fire_while_their_cause_lasts(stack: watched.Watched, cause: Cause) -> None:
    began = len(stack.alertmanager.changes)

    def told(status: str) -> set[str]:
        return {name for name, changed_to in stack.alertmanager.changes[began:] if changed_to == status}

    with cause.bring_about(stack) as again:
        seen = _repeat(again, lambda: told("firing") >= set(cause.during), _FIRE_S)
    assert seen, f"of {cause.during} only {told('firing')} fire"
    expected, traffic = set(cause.alerts), stack.system.post
    assert _repeat(traffic, lambda: told("firing") >= expected, _FIRE_S), expected - told("firing")
    assert _repeat(traffic, lambda: told("resolved") >= expected, _END_S), expected - told("resolved")
    print(f"\n{cause.bring_about.__name__}: {sorted(expected)}; besides {sorted(told('firing') - expected)}")
    assert _repeat(traffic, lambda: not stack.prometheus.firing(), _END_S), stack.prometheus.firing()


def _repeat(again: Again, holds: Again, timeout_s: float) -> bool:
    """Call `again` until the condition holds; returns whether it did, so that the caller can undo the cause first."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        again()
        time.sleep(0.2)
    return True

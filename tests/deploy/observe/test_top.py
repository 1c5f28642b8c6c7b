"""`hitline top`: what it shows of a running stack, and its rates."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from rich.console import Console

from deploy.observe.top.processes import Process
from deploy.observe.top.screen import draw, rates
from deploy.observe.top.stores import Stores
from tests import http, services
from tests.services import System


@pytest.mark.processes
def test_it_shows_what_a_stack_does(system: System) -> None:
    (worker,) = system.workers
    for _ in range(20):
        assert system.post(services.pageview()).status == 202
    assert system.post({"url": "nothing"}).status == 400
    system.wait_for_outcomes(20)
    ports = [f"--process=127.0.0.1:{port}" for port in (system.gateway.admin_port, worker.admin_port, 1)]

    shown = services.hitline(system.env, "top", "--once", "--clients", *ports).stdout
    for text in ("gateway", "worker", "ready", "no answer", "tests"):
        assert text in shown, shown

    found = json.loads(services.hitline(system.env, "top", "--json", *ports).stdout)
    gateway, busy, nothing = found["processes"]
    assert (gateway["kind"], gateway["accepted"], gateway["refused"]) == ("gateway", 20, {"invalid": 1})
    assert (busy["kind"], busy["outcomes"]["stored"]) == ("worker", 20)
    assert nothing["unready"] == "no answer"
    assert (found["waiting"], found["dead"], found["stored"]) == (0, 0, 20)
    assert 0 <= found["behind_s"] < 60
    assert found["clients"] == [["tests", 4.0]]

    text = http.request(worker.admin_port, "GET", "/metrics").body.decode()
    metrics = {line.split(" ")[0]: float(line.split(" ")[1]) for line in text.splitlines() if not line.startswith("#")}
    assert 1 <= metrics["hitline_stored_after_seconds_count"] <= 20, "once a message"
    assert metrics["hitline_stored_after_seconds_sum"] < 20 * 60
    assert abs(metrics["hitline_stored_timestamp_seconds"] - time.time()) < 120
    assert metrics["hitline_loop_lag_seconds_count"] > 0


@pytest.mark.processes
def test_it_says_what_does_not_answer(system: System) -> None:
    env = {**system.env, "HITLINE_CLICKHOUSE_URL": "http://127.0.0.1:1", "HITLINE_AMQP_URL": "amqp://a:b@127.0.0.1:1/"}
    shown = services.hitline(env, "top", "--once", "--process", "127.0.0.1:1").stdout
    assert "ClickHouse does not answer" in shown
    assert "can't be reached" in shown
    assert "a:b" not in shown


def _process(at: float, accepted: float, cpu_seconds: float, **refused: int) -> Process:
    return Process(":1", "gateway", "", at, accepted, Counter(refused), cpu_seconds=cpu_seconds)


def test_rates_are_of_the_time_between_two_looks() -> None:
    found = rates(_process(10, 100, 1), _process(12, 150, 2, invalid=4))
    assert (found.accepted, found.refused, found.cpu) == (25, 2, 0.5)


def test_a_restart_between_two_looks_is_no_negative_rate() -> None:
    assert rates(_process(10, 100, 9), _process(12, 3, 0.1)).accepted == 0
    assert rates(None, _process(12, 3, 0.1)).accepted == 0


def test_what_a_process_says_can_not_act_on_the_terminal() -> None:
    hostile = Process("\x1b]0;host\x07:1", "gateway", "\x1b[31mbroken", 1.0, 5.0, Counter({"\x1b[2J": 1}))
    console = Console(width=120, record=True, force_terminal=True)
    with console.capture() as shown:
        console.print(draw([], [hostile], Stores(clients=(("\x1b]52;c;x\x07", 1.0),)), clients=True))
    assert "\x1b]" not in shown.get()
    assert "\x1b[2J" not in shown.get()

"""What a hostile client costs another one: two clients, one of which does everything to keep the other out.

Run with `make bench ONLY=neighbours`; HITLINE_BENCH_HOSTILE_SECONDS (default 60) is how long each attack goes on, and
HITLINE_BENCH_ATTACKS (names, default all) which.  Each attack alternates with nothing and with a control: the same
attack on a plain aiohttp server that only reads, so that what the attacker itself takes of this machine's cores, and of
its kernel, is known, too.  The control is what an attack is compared with: attacker, both servers, broker and database
share the cores here, where in production an attacker has its own.  For the same reason the attacker has the lowest
priority, and, where that is allowed (to root), all that serves the good client, and the plain server, have a high one:
what else goes on on the machine would otherwise hit the process that has more to do, and look like the attack.

The gateway is held to 512 MiB of memory where a control group can be made, and otherwise its own memory is measured.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared import queue
from tests import http, memory_group, parts, services
from tests.bench.attacks import ATTACKS, HOSTNAME
from tests.bench.good_client import KeptConnection, Seen
from tests.bench.table import Table
from tests.services import Service, System

SECONDS: Final = float(os.environ.get("HITLINE_BENCH_HOSTILE_SECONDS", "60"))
CHOSEN: Final = os.environ.get("HITLINE_BENCH_ATTACKS", "").split() or list(ATTACKS)
MEMORY_MIB: Final = 512
ROUNDS: Final = 3
#: Attacks of a client that sends little by its limit; the others may send what the default allows.
_OF_A_SMALL_CLIENT: Final = ("batches_that_never_end", "aborted_bodies")
#: Seconds of a turn with nothing, or with the control, that give enough posts.
_ENOUGH_S: Final = 10.0
#: What an attack has left to do is not counted as the time of what follows it.
_SETTLE_S: Final = 1.0
#: Between two posts of the good client.
_PAUSE_S: Final = 0.02
#: How long memory has to come back, and what the allocator may keep for the next request.
_BACK_S: Final = 30.0
KEPT_MIB: Final = 64
_PRIORITY: Final = -15
_ROOT: Final = Path(__file__).parent.parent.parent


@dataclass
class Bench:
    """The parts of a run."""

    system: System
    gateway: Service
    sink_port: int
    good_token: str
    tokens: dict[str, str]
    peak_mib: float = 0.0

    def measure(self, name: str, seconds: float = SECONDS) -> Seen:
        """Run one attack for so many seconds, in turns with nothing and with its control."""
        seen, turn = Seen(), seconds / ROUNDS
        beside = min(turn / 2, max(turn / 4, _ENOUGH_S))
        self.peak_mib = 0.0
        for _ in range(ROUNDS):
            self._post(seen, "settling", min(_SETTLE_S, turn / 4))
            self._post(seen, "nothing", beside)
            self._attack(seen, name, "control", self.sink_port, beside)
            self._attack(seen, name, "attack", self.gateway.port, turn)
        return seen

    def attack(self, name: str, seconds: float) -> Seen:
        """Run one attack for so many seconds, compared with nothing."""
        seen = Seen()
        self.peak_mib = 0.0
        self._attack(seen, name, "attack", self.gateway.port, seconds)
        return seen

    def _attack(self, seen: Seen, name: str, beside: str, port: int, seconds: float) -> None:
        token = self.tokens["small" if name in _OF_A_SMALL_CLIENT else "large"]
        with attacking(name, port, token, seconds):
            self._post(seen, beside, seconds)

    def _post(self, seen: Seen, beside: str, seconds: float) -> None:
        kept = KeptConnection(self.gateway.port, self.good_token)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for name, post in ((beside, kept.post), (f"{beside}, new connection", kept.post_once)):
                ids = services.ids()
                began = time.monotonic()
                status = post(services.pageview(**ids))
                seen.seconds.setdefault(name, []).append(time.monotonic() - began)
                seen.note(status, name, ids["page_id"])
                self.peak_mib = max(self.peak_mib, self.gateway.resident_mib())
                time.sleep(_PAUSE_S)


def prefer() -> bool:
    """Give this process, and those that it starts, a high priority; returns whether that is allowed."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    except PermissionError:
        return False
    return True


@contextlib.contextmanager
def attacking(name: str, port: int, token: str, seconds: float) -> Iterator[None]:
    """Attack a port from a process of its own, whose share of the cores is small: it stands for another machine."""
    command = [sys.executable, "-m", "tests.bench.attacks", name, str(port), token, str(seconds)]
    attacker = subprocess.Popen(["nice", "-n", "40", *command], cwd=_ROOT, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        attacker.kill()
        attacker.wait()


@contextlib.contextmanager
def bench(system: System, directory: Path) -> Iterator[Bench]:
    """Start a gateway in a limited group, and a server that only reads; register both clients."""
    services.hitline(system.env, "site", "add", HOSTNAME)
    good = services.add_client(system.env, "good neighbour", "example.com")
    large = services.add_client(system.env, "hostile, large", HOSTNAME, rate="5000/second")
    small = services.add_client(system.env, "hostile, small", HOSTNAME, rate="1/hour")
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(memory_group.limited(MEMORY_MIB))
        env = {**system.env, "HITLINE_HTTP_PORT": "0", "HITLINE_MAX_CONNECTIONS_PER_ADDRESS": "0"}
        gateway = Service("gateway", env, directory / "gateway.log", memory_group.wrapped(group, "gateway"))
        stack.callback(gateway.end)
        gateway.start()
        services.wait_for(lambda: http.ready(gateway.admin_port))
        for token in (good, small, large):
            services.wait_for(lambda token=token: not is_refused(gateway.port, token))
        command = [sys.executable, "-m", "tests.bench.sink"]
        sink = stack.enter_context(subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True))
        stack.callback(sink.terminate)
        assert sink.stdout is not None
        yield Bench(system, gateway, int(sink.stdout.readline()), good, {"large": large, "small": small})


def is_refused(port: int, token: str) -> bool:
    """Return whether a gateway does not know a token yet."""
    return http.request(port, body=b"", token=token).status == 401


def waiting(system: System) -> int:
    """Return how many messages wait in the queue."""
    return parts.run_apart(lambda: parts.depth(system.broker.amqp_url, queue.QUEUE))


def stored_s(system: System) -> dict[str, float]:
    """Return how long each pageview of the good client's site took until it was stored, by its page.

    Their number tells nothing: some are of what was measured before, or of posts whose answer did not arrive.
    """
    sql = """SELECT toString(page_id) AS page,
        max(toUnixTimestamp64Milli(stored_at) - toUnixTimestamp64Milli(received_at)) AS ms
        FROM hitline.pageviews_raw WHERE hostname = 'example.com' GROUP BY page"""
    return {row["page"]: int(row["ms"]) / 1000 for row in services.rows(system.clickhouse, sql)}


def run(system: System, table: Table) -> None:
    """Measure every attack and add its rows."""
    system.add_worker()
    with bench(system, system.logs) as running:
        running.measure(CHOSEN[0], 3)  # to warm up
        for name in CHOSEN:
            report(name, running, table)


def report(name: str, running: Bench, table: Table) -> None:
    """Measure one attack and add its rows."""
    gateway, system = running.gateway, running.system
    services.wait_for(lambda: waiting(system) == 0, 120)
    parts.empty_tables_of_pageviews(system.clickhouse)
    before = gateway.resident_mib()
    seen = running.measure(name)
    after = lowest_mib(gateway, before + KEPT_MIB)
    with contextlib.suppress(TimeoutError):
        services.wait_for(lambda: seen.accepted <= stored_s(system).keys(), 120)
    stored = {page: seconds for page, seconds in stored_s(system).items() if page in seen.accepted}
    alone, control, beside = (seen.p99_ms(each) for each in ("nothing", "control", "attack"))
    table.note(f"{name}: p99 alone, beside the control, beside it", f"{alone:.1f}, {control:.1f}, {beside:.1f} ms")
    each = [seen.p99_ms(f"{beside}, new connection") for beside in ("nothing", "control", "attack")]
    table.note(f"{name}: the same with a new connection each", f"{each[0]:.1f}, {each[1]:.1f}, {each[2]:.1f} ms")
    table.note(f"{name}: memory before, most, 30 s after", f"{before:.0f}, {running.peak_mib:.0f}, {after:.0f} MiB")
    # What the turn before has left to do is part of the time alone, so that the control is the measure.
    table.ratio(f"{name}: p99 of what it is beside the control", beside / control, 3, at_most=True)
    table.ratio(f"{name}: stored after, at most", max(stored.values(), default=0.0), 5, at_most=True, form="{:.1f} s")
    table.ratio(f"{name}: not stored", len(seen.accepted - stored.keys()), 0, at_most=True, form="{:.0f}")
    table.ratio(f"{name}: failed posts", len(seen.failed), 0, at_most=True, form="{:.0f}")
    table.ratio(f"{name}: the gateway's memory, MiB", running.peak_mib, MEMORY_MIB, at_most=True, form="{:.0f}")
    table.ratio(f"{name}: memory that is kept, MiB", after - before, KEPT_MIB, at_most=True, form="{:.0f}")
    for failure in sorted(set(seen.failed)):
        table.note(f"  {failure}", f"{seen.failed.count(failure)} times")
    if not gateway.running:
        raise RuntimeError(f"{name}: the gateway has ended: {gateway.text()[-2000:]}")


def lowest_mib(gateway: Service, enough: float) -> float:
    """Return the gateway's memory once it is as low as `enough`, or after `_BACK_S`."""
    with contextlib.suppress(TimeoutError):
        services.wait_for(lambda: gateway.resident_mib() <= enough, _BACK_S)
    return gateway.resident_mib()

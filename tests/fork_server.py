"""Starts Hitline's processes as forks of one that is warm: most of a start is importing code and compiling patterns.

A process that is started so runs the same `__main__`, with environment, files and signals of its own, like one that
Python was started for.  The suite starts hundreds; what starts otherwise (`make run`, the wheel, containers) is tested
where it is the matter.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
_ALWAYS = ("clickhouse_connect.driver.asyncclient", "aiohttp.web", "encodings.idna")
#: Program → what it imports, at its start or later.  `hitline` imports a command's modules when it is run.
PRELOADED = {
    "gateway": ("gateway.__main__", *_ALWAYS),
    "worker": ("worker.__main__", *_ALWAYS),
    "hitline": (
        *(f"deploy.cli.{path.stem}" for path in (ROOT / "deploy/cli").glob("[a-z]*.py")),
        *("deploy.observe.doctor", "deploy.report.page", "rich.progress"),
        *_ALWAYS,
    ),
}


class ForkServer:
    """One program, imported once; `start` forks it."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._started: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._news = threading.Condition()
        self._number = 0

    def start(self, arguments: Sequence[str], env: Mapping[str, str], files: Mapping[int, Path]) -> Forked:
        """Fork the program with these arguments, in this environment; `files`: what it appends its output to."""
        sys.audit("subprocess.Popen", self._program, list(arguments), None, None)  # see quick.py
        for path in files.values():
            path.touch()
        with self._lock:
            if self._process is None:
                self._begin()
            self._number += 1
            number = self._number
            request = [number, list(arguments), dict(env), {fd: str(path) for fd, path in files.items()}]
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        with self._news:
            self._news.wait_for(lambda: number in self._started)
            return Forked(self._started.pop(number), self._exit_code)

    def _begin(self) -> None:
        command = [sys.executable, "-m", "tests.fork_server", self._program]
        env = {name: value for name, value in os.environ.items() if not name.startswith("HITLINE_")}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=env)
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()
        atexit.register(self.stop)

    def _listen(self, news: Any) -> None:
        for line in news:
            kind, key, value = json.loads(line)
            with self._news:
                (self._started if kind == "started" else self._ended)[key] = value
                self._news.notify_all()

    def _exit_code(self, pid: int, timeout_s: float) -> int | None:
        with self._news:
            self._news.wait_for(lambda: pid in self._ended, timeout_s)
            return self._ended.get(pid)

    def stop(self) -> None:
        """End the server; what it has started goes on."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None


class Forked:
    """A process of a fork server, with what `subprocess.Popen` offers of it."""

    def __init__(self, pid: int, exit_code: Callable[[int, float], int | None]) -> None:
        self.pid = pid
        self._exit_code = exit_code

    def poll(self) -> int | None:
        return self._exit_code(self.pid, 0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._exit_code(self.pid, 1e6 if timeout is None else timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def serve(program: str) -> None:
    """Fork for each line of stdin until it ends; say which process was started, and how each ended."""
    warm_up(program)
    wake, woken = os.pipe()
    for fd in (wake, woken):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    waiting = b""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            tell_of_ended()
        if 0 in ready:
            data = os.read(0, 1 << 20)
            if not data:
                return
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                number, arguments, env, files = json.loads(line)
                if (pid := os.fork()) == 0:
                    become(program, arguments, env, files)
                tell("started", number, pid)


def warm_up(program: str) -> None:
    """Do what each start of the program would do in the same way: import, compile, read lists."""
    for name in PRELOADED[program]:
        importlib.import_module(name)
    if program == "worker":
        importlib.import_module("worker.lookups.agents").Agents()
        importlib.import_module("worker.lookups.domains").is_public_suffix("example.com")
    gc.collect()
    gc.freeze()  # so that the collections of forks neither scan nor copy what they share


def tell(*news: Any) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


def tell_of_ended() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        tell("ended", pid, os.waitstatus_to_exitcode(status))


def become(program: str, arguments: list[str], env: dict[str, str], files: dict[str, str]) -> NoReturn:
    """Be the program, as if Python had been started for it."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        path = files.get(str(fd))
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path else nothing, fd)
    os.closerange(3, 256)
    code = 1
    try:
        code = run(program, arguments)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def run(program: str, arguments: list[str]) -> int:
    """Run the program to its end; returns its exit code."""
    sys.argv = [program, *arguments]
    try:
        if program == "hitline":
            importlib.import_module("deploy.cli").main()
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])

"""A real Prometheus and its Alertmanager for tests, with the project's own scrape configuration and rules."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deploy.local.ports import free_port
from tests.programs import ALERTMANAGER, PROMETHEUS, PROMTOOL, path_of

DEPLOY = Path(__file__).parents[1] / "deploy"
OBSERVABILITY = DEPLOY / "observability"


class Sample(NamedTuple):
    """One series of an instant query's result."""

    labels: Mapping[str, str]
    value: float


def promtool(*arguments: str, text: str | None = None, cwd: Path = OBSERVABILITY) -> subprocess.CompletedProcess[str]:
    """Run promtool; its exit code and output are in the result."""
    command = [path_of(PROMTOOL), *arguments]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False, cwd=cwd, timeout=180)


class PrometheusProcess:
    """Prometheus on a free port, which scrapes every second what `watch` names, by the jobs of the compose file."""

    def __init__(self, directory: Path, rules: str = "", alertmanager: int = 0) -> None:
        """`rules`: the text of a rule file. `alertmanager`: its port; 0: alerts are sent nowhere."""
        self._directory = directory
        self._rules = rules
        self._alertmanager = alertmanager
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> PrometheusProcess:
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "alerts.yml").write_text(self._rules or "groups: []\n")
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(self._configuration()))
        command = [
            path_of(PROMETHEUS),
            f"--config.file={self._directory}/prometheus.yml",
            f"--storage.tsdb.path={self._directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        with (self._directory / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory)
        _wait_for_http(f"http://127.0.0.1:{self.port}/-/ready", self._process)
        return self

    def _configuration(self) -> dict[str, Any]:
        """Return the compose file's configuration, with the places of containers read from files."""
        found = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text("utf-8"))
        found["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        found["rule_files"] = ["alerts.yml"]
        for job in found["scrape_configs"]:
            job.pop("dns_sd_configs", None)
            job.pop("static_configs", None)
            job["file_sd_configs"] = [{"files": [f"{job['job_name']}.json"], "refresh_interval": "1s"}]
            (self._directory / f"{job['job_name']}.json").write_text("[]")
        if self._alertmanager:
            target = {"targets": [f"127.0.0.1:{self._alertmanager}"]}
            found["alerting"] = {"alertmanagers": [{"static_configs": [target]}]}
        return found

    def watch(self, job: str, *ports: int) -> None:
        """Scrape these ports of this machine, and no others, as that job."""
        file = self._directory / f"{job}.json"
        assert file.exists(), f"the compose file's Prometheus has no job {job}"
        part = file.with_suffix(".part")
        part.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}" for port in ports]}]))
        part.replace(file)

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the HTTP API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Sample]:
        """Return what an expression gives now."""
        return [
            Sample(each["metric"], float(each["value"][1])) for each in self.get("query", query=expression)["result"]
        ]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"}

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


class Alertmanager:
    """An Alertmanager that passes each change of an alert on to `changes`: (name, "firing" or "resolved")."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self.changes: list[tuple[str, str]] = []
        self._hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Alertmanager:
        self._directory.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._hook.serve_forever, daemon=True).start()
        hook = {"url": f"http://127.0.0.1:{self._hook.server_port}/", "send_resolved": True}
        route = {"receiver": "tests", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        configuration = {"route": route, "receivers": [{"name": "tests", "webhook_configs": [hook]}]}
        (self._directory / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
        command = [
            path_of(ALERTMANAGER),
            f"--config.file={self._directory}/alertmanager.yml",
            f"--storage.path={self._directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        with (self._directory / "alertmanager.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        _wait_for_http(f"http://127.0.0.1:{self.port}/-/ready", self._process)
        return self

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        changes = self.changes

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                changes.extend((alert["labels"]["alertname"], alert["status"]) for alert in told["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
        self._hook.shutdown()
        self._hook.server_close()


def _wait_for_http(url: str, process: subprocess.Popen[bytes], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=30).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"nothing is ready at {url}")

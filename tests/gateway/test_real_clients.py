"""Clients of other kinds than ours, as they are: curl, wrk, and syslog-ng's http() destination."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import http, services
from tests.programs import CURL, SYSLOG_NG, WRK, path_of
from tests.services import System, pageview


def stored(system: System, marker: str) -> int:
    return services.count(system.clickhouse, "pageviews", f"startsWith(path, '/{marker}')")


@pytest.mark.parametrize("compressed", [False, True])
def test_curl_posts_a_file_of_pageviews(system: System, tmp_path: Path, compressed: bool) -> None:
    curl = path_of(CURL)
    marker = uuid.uuid4().hex
    file = tmp_path / "pageviews.ndjson"
    file.write_text("".join(json.dumps(pageview(url=f"https://example.com/{marker}/{n}")) + "\n" for n in range(800)))
    if compressed:
        subprocess.run(["gzip", file], check=True)
        file = file.with_name(file.name + ".gz")
    headers = ["-H", f"Authorization: Bearer {system.token}", *(["-H", "Content-Encoding: gzip"] if compressed else [])]
    url = f"http://127.0.0.1:{system.port}{http.BATCH_ENDPOINT}"

    run = subprocess.run([curl, "-sS", *headers, "--data-binary", f"@{file}", url], capture_output=True, check=True)

    assert json.loads(run.stdout) == {"accepted": 800, "rejected": 0, "errors": []}
    services.wait_for(lambda: stored(system, marker) == 800)


def test_wrk_posts_under_load_and_each_202_is_one_row(system: System, tmp_path: Path) -> None:
    wrk = path_of(WRK)
    marker = uuid.uuid4().hex
    script = tmp_path / "post.lua"
    script.write_text(
        f"""
        wrk.method = "POST"
        wrk.body = [[{json.dumps(pageview(url=f"https://example.com/{marker}"))}]]
        wrk.headers["X-API-Key"] = "{system.token}"
        function response(status) if status == 202 then taken = (taken or 0) + 1 else failed = (failed or 0) + 1 end end
        local threads = {{}}
        function setup(thread) table.insert(threads, thread) end
        function done()
            local sum, bad = 0, 0
            for _, each in ipairs(threads) do
                sum, bad = sum + (each:get("taken") or 0), bad + (each:get("failed") or 0)
            end
            print("taken", sum, "failed", bad)
        end
        """
    )
    url = f"http://127.0.0.1:{system.port}{http.ENDPOINT}"

    run = subprocess.run([wrk, "-t1", "-c50", "-d3s", "-s", script, url], capture_output=True, text=True, check=True)

    line = next(line.split() for line in run.stdout.splitlines() if line.startswith("taken"))
    taken, failed = int(line[1]), int(line[3])
    assert failed == 0
    assert taken > 100
    # What wrk had in flight when its time was up was taken as well, without its hearing of it.
    services.wait_for(lambda: taken <= stored(system, marker) <= taken + 50)


@contextmanager
def syslog_ng(configuration: str, directory: Path) -> Iterator[None]:
    program = path_of(SYSLOG_NG)
    file = directory / "syslog-ng.conf"
    file.write_text(configuration)
    options = [f"--cfgfile={file}", f"--persist-file={directory}/persist", f"--pidfile={directory}/pid"]
    process = subprocess.Popen(
        [program, "--foreground", "--stderr", "--no-caps", f"--control={directory}/control", *options],
        stderr=(directory / "log").open("wb"),
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(90)


def test_syslog_ng_ships_a_log_file_to_the_batch_endpoint(system: System, tmp_path: Path) -> None:
    marker = uuid.uuid4().hex
    log = tmp_path / "pageviews.log"
    log.write_text("".join(json.dumps(pageview(url=f"https://example.com/{marker}/{n}")) + "\n" for n in range(3000)))
    configuration = f"""@version: 3.38
        source s {{ file("{log}" flags(no-parse) follow-freq(0.2) read-old-records(yes)); }};
        destination d {{
            http(url("http://127.0.0.1:{system.port}{http.BATCH_ENDPOINT}") method("POST")
                 headers("Authorization: Bearer {system.token}") body("$MSG") delimiter("\\n")
                 batch-lines(500) batch-timeout(500) workers(2) retries(5));
        }};
        log {{ source(s); destination(d); }};
    """

    with syslog_ng(configuration, tmp_path):
        services.wait_for(lambda: stored(system, marker) >= 3000, 60)

    assert stored(system, marker) == 3000, (tmp_path / "log").read_text()[-2000:]

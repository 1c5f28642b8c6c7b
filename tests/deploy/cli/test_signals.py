"""A download that is stopped in the middle leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest


@pytest.mark.processes
@pytest.mark.parametrize("command", [("geo", "update", "--dbip-url"), ("feeds", "update", "--drop-v4-url")], ids=str)
def test_sigterm_in_the_middle_of_a_download_leaves_no_part_of_it(tmp_path: Path, command: tuple[str, ...]) -> None:
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_half() -> None:
            connection, _ = server.accept()
            connection.recv(10_000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
            asked.set()
            connection.recv(1)  # until it ends

        threading.Thread(target=answer_half, daemon=True).start()
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("hitline")), *command, f"http://127.0.0.1:{server.getsockname()[1]}/x"],
            env={"HITLINE_STATE_DIR": str(tmp_path), "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
        assert asked.wait(90)
        time.sleep(0.2)
        process.terminate()
        assert process.wait(60) == 143
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".part"]

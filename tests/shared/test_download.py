from __future__ import annotations

import time

import pytest

from shared import download
from shared.download import DownloadError, UnreachableHostError, fetch


def test_a_download_is_bounded_and_whole(file_server, tmp_path, monkeypatch):
    with (tmp_path / "file").open("wb") as file:
        with pytest.raises(DownloadError, match="larger than"):
            fetch(f"{file_server.url}/drop_v4.json", file, limit_bytes=10)
        with pytest.raises(DownloadError, match="must begin with http"):
            fetch("file:///etc/hostname", file, limit_bytes=1000)
        file_server.cut = True
        with pytest.raises(UnreachableHostError, match="broke"):
            fetch(f"{file_server.url}/drop_v4.json", file, limit_bytes=1000)
        file_server.cut = False
        file_server.pause_s = 0.1  # never silent for long, and done in 10 s
        monkeypatch.setattr(download, "TOTAL_SECONDS", 0.5)
        began = time.monotonic()
        with pytest.raises(DownloadError, match="took longer"):
            fetch(f"{file_server.url}/drop_v4.json", file, limit_bytes=1000)
        assert time.monotonic() - began < 9
        file_server.pause_s = 0.0
        monkeypatch.setattr(download, "TOTAL_SECONDS", -1.0)
        with pytest.raises(DownloadError, match="took longer"):
            fetch(f"{file_server.url}/drop_v4.json", file, limit_bytes=1000)

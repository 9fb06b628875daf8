"""Which hosts of original files can be reached."""

import http.server
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tfae.datasets.downloads import unreachable_hosts


def test_hosts_are_reached_if_they_answer_for_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "there").write_text("content")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def do_GET(self) -> None:
            if self.path == "/forbidden":
                self.send_error(403)
            else:
                super().do_GET()

        def log_message(self, *arguments: Any) -> None:
            pass

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server,
        socket.create_server(("127.0.0.1", 0)) as silent,  # takes the connection, and never answers
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address, mute = (f"http://127.0.0.1:{port}" for port in (server.server_port, silent.getsockname()[1]))
        assert unreachable_hosts([f"{address}/there"]) == []
        assert unreachable_hosts([f"{address}/not_there"]) == []
        assert unreachable_hosts([f"{address}/forbidden"]) == ["127.0.0.1"]
        start = time.monotonic()
        assert unreachable_hosts([f"{mute}/there", "http://localhost:1/there"], patience=0.5) == [
            "127.0.0.1",
            "localhost",
        ]
        assert time.monotonic() - start < 3
        server.shutdown()

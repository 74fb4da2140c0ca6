"""Systemd is told when the service is ready, and when it stops."""

import socket
import tempfile
from pathlib import Path

import pytest

from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from mulo_sd.engines.http.notify import notify


def test_a_service_tells_systemd(minimal_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address = str(Path(folder) / "notify")  # in a short path: names of sockets are
        systemd.bind(address)
        systemd.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        with Served(*bundle_argument("minimal", minimal_bundle)) as served:
            assert systemd.recv(100) == b"READY=1"
            assert served.end() == 0
            assert systemd.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "@nobody-listens"])
def test_nobody_hears_it(address: str) -> None:
    notify("READY=1", {"NOTIFY_SOCKET": address})
    notify("READY=1", {})

"""A Ray cluster of one machine, on loopback, for deployments from a config file; leaving the block ends it."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Any

SECONDS = 120.0
STATUS_SECONDS = 5.0


class Head:
    """Starts `ray start --head` on free ports, in a folder of its own; it asks for a token, as docs/cluster.md says.

    Attributes:
        environment: What its commands and clients need to show the token.
    """

    def __init__(self, cpus: int) -> None:
        """Start it and wait until it takes deployments.

        Args:
            cpus: That Ray may give away; the machine may have others.
        """
        self.folder = tempfile.TemporaryDirectory(prefix="mulo-sd-ray-")
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process)
        gcs, dashboard, client, agent, self.port = free_ports(5)
        self.dashboard, self.address = f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}"
        self.url = f"http://127.0.0.1:{self.port}"
        options = {
            "node-ip-address": "127.0.0.1",
            "port": gcs,
            "dashboard-host": "127.0.0.1",
            "dashboard-port": dashboard,
            "ray-client-server-port": client,
            "dashboard-agent-listen-port": agent,
            "num-cpus": cpus,
            "temp-dir": self.folder.name,
        }
        self.environment = {**os.environ, "RAY_AUTH_MODE": "token"}
        _run([_script("ray"), "get-auth-token", "--generate"], self.environment)  # the one that is there, if one is
        command = [_script("ray"), "start", "--head", "--block", "--disable-usage-stats"]
        command += [f"--{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=self.environment)
        ends_at = time.monotonic() + SECONDS
        while self.status() is None:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < ends_at, self.output
            time.sleep(0.1)

    @property
    def output(self) -> str:
        """What it wrote so far."""
        self.log.seek(0)
        return self.log.read().decode()

    def deploy(self, config: dict[str, Any]) -> None:
        """Deploy from a config file, as an operator does, and return when Ray Serve has taken it."""
        config = config | {"http_options": {"host": "127.0.0.1", "port": self.port}}
        path = Path(self.folder.name) / "serve.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")  # which is YAML
        _run([_script("serve"), "deploy", "-a", self.dashboard, str(path)], self.environment)

    def status(self) -> dict[str, Any] | None:
        """Return Ray Serve's applications by name, as its dashboard tells of them; None while it tells nothing."""
        token = Path("~/.ray/auth_token").expanduser().read_text(encoding="utf-8").strip()
        key = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{self.dashboard}/api/serve/applications/", headers=key)
        try:
            with urllib.request.urlopen(request, timeout=STATUS_SECONDS) as answer:
                applications: dict[str, Any] = json.load(answer)["applications"]
        except OSError:
            return None
        return applications

    def wait_until_running(self, name: str) -> None:
        """Wait until an application runs, all of its replicas up to date."""
        ends_at = time.monotonic() + SECONDS
        while (self.status() or {}).get(name, {}).get("status") != "RUNNING":
            assert time.monotonic() < ends_at, self.status()
            time.sleep(0.2)

    def __enter__(self) -> "Head":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the cluster, whatever happened."""
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(SECONDS)
        self.log.close()
        self.folder.cleanup()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)

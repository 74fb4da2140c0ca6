"""A service in a process of its own, as an operator starts it, for its clients: measurements, soak and tests."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO

SECONDS = 60.0
URL = re.compile(r"http://\S+?(?=/ draws)")


class Served:
    """Starts `mulo-sd serve` on a free port of loopback; leaving the block ends it."""

    def __init__(self, *arguments: str, wait: bool = True) -> None:
        """Start it.

        Args:
            arguments: Of the command; the port is any that is free.
            wait: Until it is ready.
        """
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process)
        command = [sys.executable, "-m", "mulo_sd.engines.serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=dict(os.environ))
        self.url = self._url()
        if wait:
            self.wait_until_ready()

    @property
    def output(self) -> str:
        """What it wrote so far."""
        self.log.seek(0)
        return self.log.read().decode()

    def _url(self) -> str:
        ends_at = time.monotonic() + SECONDS
        while time.monotonic() < ends_at:
            found = URL.search(self.output)
            if found:
                return found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the service did not start: {self.output}")

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask for a path; return the status and the body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def wait_until_ready(self) -> None:
        """Wait until it takes requests."""
        ends_at = time.monotonic() + SECONDS
        while self.get("/ready")[0] != 200:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < ends_at, self.output
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def __enter__(self) -> "Served":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process, whatever happened."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(SECONDS)
        self.log.close()


def bundle_argument(name: str, folder: Path) -> tuple[str, str]:
    """Return the option that serves a bundle under a name."""
    return "--bundle", f"{name}={folder}"


def metric(served: Served, name: str) -> dict[str, float]:
    """Return a metric of a service by model."""
    text = served.get("/metrics")[1].decode()
    found = re.findall(rf'^{name}{{model="([^"]+)"}} (\S+)$', text, re.MULTILINE)
    return {model: float(value) for model, value in found}

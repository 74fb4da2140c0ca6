"""The tritonserver of the wheel nvidia-pytriton in a process of its own, for tests and measurements.

Two environments: one has the wheel, and Triton's client; the other one has mulo-sd, and runs the model. They cannot be
one: the wheel needs numpy 1, the engines numpy 2.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mulo_sd.engines.files.paths import expanded

# Folders of the two environments.
SERVER_ENVIRONMENT, MODEL_ENVIRONMENT = "MULO_SD_TRITON", "MULO_SD_TRITON_MODEL"
SECONDS = 60.0
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
STUB, STUBS = "triton_python_backend_stub", "python_backend_stubs"
SITE, TRITON = "lib/python3*/site-packages", "pytriton/tritonserver"


class Environments:
    """Where the wheel and mulo-sd are installed."""

    def __init__(self) -> None:
        """Find them.

        Raises:
            LookupError: one is not there; a line that says which.
        """
        self.server, self.model = (_environment(name) for name in (SERVER_ENVIRONMENT, MODEL_ENVIRONMENT))
        self.site = _one(self.server, SITE)
        self.triton = _one(self.site, TRITON)
        version = _one(self.model, "lib/python3*").name.removeprefix("python")
        self.stub = _one(self.triton, f"{STUBS}/{version}/{STUB}")
        needed = subprocess.run(["ldd", self.stub], capture_output=True, text=True, check=False).stdout
        missing = [line.split()[0] for line in needed.splitlines() if "libpython" in line and "not found" in line]
        if missing:
            raise LookupError(f"{self.stub}: needs {missing[0]}, which this system lacks")

    def python(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Python where Triton's client is."""
        command = [str(self.server / "bin" / "python"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, **options)


def stubs_of(server: Path) -> list[str]:
    """Return the versions of Python for which a server's environment has a stub."""
    return [path.parent.name for path in server.glob(f"{SITE}/{TRITON}/{STUBS}/*/{STUB}")]


def _environment(name: str) -> Path:
    folder = os.environ.get(name)
    if not folder:
        raise LookupError(f"{name} names no environment (docs/triton.md)")
    return expanded(folder).absolute()


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise LookupError(f"{folder}: there is no {pattern}")
    return found[0]


def free_port() -> int:
    """Return a port of loopback that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class TritonServer:
    """Serves a model repository on loopback; leaving the block ends it.

    On Linux it also ends where the thread that made it does, SIGKILL included.
    """

    def __init__(
        self,
        environments: Environments,
        repository: Path,
        *models: str,
        ports: tuple[int, int] | None = None,
        shown: bool = False,
    ) -> None:
        """Start it, and wait until the models are loaded.

        Args:
            environments: What it runs in.
            repository: Of models.
            models: That are loaded at once; the others, when somebody asks.
            ports: For HTTP and gRPC; None takes free ones.
            shown: Whether it writes where this process does, instead of into `output`.
        """
        self.environments = environments
        self.folder = tempfile.TemporaryDirectory()
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process)
        self.http_port, self.grpc_port = ports or (free_port(), free_port())
        backends = Path(self.folder.name, "backends")
        shutil.copytree(environments.triton / "backends", backends)
        shutil.copy(environments.stub, backends / "python")
        self.process = subprocess.Popen(
            [
                str(environments.triton / "bin" / "tritonserver"),
                f"--model-repository={repository.absolute()}",
                f"--backend-directory={backends}",
                "--model-control-mode=explicit",
                "--disable-auto-complete-config",
                *(f"--load-model={name}" for name in models),
                *(f"--{name}-address=127.0.0.1" for name in ("http", "grpc")),
                f"--http-port={self.http_port}",
                f"--grpc-port={self.grpc_port}",
                "--allow-metrics=false",
                "--exit-timeout-secs=10",
            ],
            stdout=None if shown else self.log,
            stderr=None if shown else self.log,
            env=_variables(environments),
            start_new_session=True,
            preexec_fn=_ends_with(os.getpid()),
        )
        try:
            self._wait(lambda: self.get("/v2/health/ready")[0] == 200)
        except BaseException:
            self._end()
            raise

    @property
    def grpc(self) -> str:
        """Where it listens for gRPC."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def output(self) -> str:
        """What it wrote so far."""
        self.log.seek(0)
        return self.log.read().decode()

    def _wait(self, is_so: Any) -> None:
        ends_at = time.monotonic() + SECONDS
        while not is_so():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < ends_at, self.output
            time.sleep(0.05)

    def request(self, path: str, body: object = None, seconds: float = SECONDS) -> Any:
        """Ask over HTTP; return the open answer.

        Raises:
            HTTPError: it is no success.
        """
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", data, timeout=seconds)

    def get(self, path: str, body: object = None, seconds: float = SECONDS) -> tuple[int, bytes]:
        """Ask over HTTP; return the status and the body; 0 where nobody listens yet."""
        try:
            with self.request(path, body, seconds) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except urllib.error.URLError:
            return 0, b""

    def draw(self, model: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Ask a model for an image; yield its responses by name of the tensor, errors as `error`."""
        with self.request(f"/v2/models/{model}/generate_stream", tensors(**fields)) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    def error(self, model: str, **fields: Any) -> str:
        """Ask a model for an image that it refuses; return the error, which is all of the answer."""
        _, body = self.get(f"/v2/models/{model}/generate_stream", tensors(**fields))
        lines = [line.removeprefix("data: ") for line in body.decode().splitlines() if line]
        answers = [json.loads(line) for line in lines]
        assert [set(answer) for answer in answers] == [{"error"}], answers
        error: str = answers[0]["error"]
        return error

    def control(self, action: str, model: str) -> tuple[int, bytes]:
        """Load or unload a model."""
        return self.get(f"/v2/repository/models/{model}/{action}", {})

    def processes(self, name: str = "") -> list[int]:
        """Return its processes that still run, those whose command names something alone."""
        return processes_of(self.process.pid, name)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def __enter__(self) -> "TritonServer":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """End its processes, whatever happened."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(SECONDS)
        for left in self.processes():
            os.kill(left, signal.SIGKILL)
        self.log.close()
        self.folder.cleanup()


def processes_of(session: int, name: str = "") -> list[int]:
    """Return a session's processes that still run, those whose command names something alone."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # it ended just now
            continue
        if int(status[3]) == session and status[0] != "Z" and name in words:
            found.append(int(folder.name))
    return found


def tensors(**fields: Any) -> dict[str, Any]:
    """Return fields by the tensors' names, as Triton's JSON holds them: texts as the bytes of their UTF-8."""
    return {name.upper(): list(value.encode()) if isinstance(value, str) else value for name, value in fields.items()}


def _ends_with(parent: int) -> Callable[[], None] | None:
    """Return what a child calls before its program, so that SIGTERM comes to it when its parent dies; Linux alone."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def call() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died meanwhile
            os._exit(1)

    return call


def _variables(environments: Environments) -> dict[str, str]:
    """Return the environment of the server: its libraries, the Python of the model, and nothing of this process's."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = f"{environments.model / 'bin'}{os.pathsep}{variables.get('PATH', '')}"
    libraries = str(environments.site / "nvidia_pytriton.libs")
    return variables | {"PATH": path, "LD_LIBRARY_PATH": libraries, "VIRTUAL_ENV": str(environments.model)}

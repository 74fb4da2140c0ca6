"""python -m conformance.tools.make_triton --out FOLDER: environments where Triton runs without a container.

`FOLDER/server` has the wheel nvidia-pytriton, which brings a tritonserver that runs on a CPU, and Triton's client;
`FOLDER/model` has this checkout, and is the Python of the model.
"""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mulo_sd.conformance.tools.serving.tritonserver import (
    MODEL_ENVIRONMENT,
    SERVER_ENVIRONMENT,
    Environments,
    stubs_of,
)
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path

WHEEL = "nvidia-pytriton==0.7.0"
ROOT = Path(__file__).resolve().parents[2]
CANNOT = 1
# Whether an interpreter is of the library that a stub would load: of another patch release it fails in odd ways.
IS_OF_ITS_LIBRARY = """
import ctypes, sys
assert "%d.%d" % sys.version_info[:2] == sys.argv[1]
library = ctypes.CDLL(f"libpython3.{sys.version_info.minor}.so.1.0")
library.Py_GetVersion.restype = ctypes.c_char_p
assert library.Py_GetVersion().split()[0].decode() == sys.version.split()[0]
import ensurepip, venv
"""


class CannotError(RuntimeError):
    """An environment that cannot be made; one line."""


def _run(*words: str | Path, what: str) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise CannotError(f"{what}: {last}")


def _interpreters(versions: list[str]) -> Iterator[str]:
    """Yield Pythons of some versions that are at hand, the system's own first: it comes with its library."""
    for version in versions:
        name = f"python{version}"
        for path in dict.fromkeys((shutil.which(name, path="/usr/bin"), shutil.which(name), sys.executable)):
            if path is None:
                continue
            asked = [path, "-c", IS_OF_ITS_LIBRARY, version]
            if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
                yield path


@contextmanager
def _whole(folder: Path) -> Iterator[bool]:
    """Yield whether an environment is still to be made; one that could not be made to its end is removed."""
    is_missing = not os.path.lexists(folder)
    try:
        yield is_missing
    except BaseException:
        if is_missing:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def make_server(folder: Path) -> None:
    """Make the environment of the wheel.

    Raises:
        CannotError: it cannot be installed here.
    """
    venv.create(folder, with_pip=True, symlinks=os.name != "nt", clear=False)
    _run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", WHEEL, what=WHEEL)


def make_model(folder: Path, server: Path) -> None:
    """Make the environment of the model, of a Python for which the server has a stub.

    Raises:
        CannotError: there is none, or this checkout cannot be installed in it.
    """
    versions = sorted(stubs_of(server), key=lambda text: int(text.partition(".")[2]))
    usable = [version for version in versions if int(version.partition(".")[2]) >= 11]
    found = next(_interpreters(usable), None)
    if found is None:
        raise CannotError(f"no Python of {', '.join(usable)} with its own libpython3.*.so.1.0 is at hand")
    _run(found, "-m", "venv", folder, what=found)
    _run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-e", ROOT, what="mulo-sd")


@command
def main() -> int:
    """Make both and print the variables that name them.

    Returns:
        0; 1 where this machine cannot have them.
    """
    parser = command_parser("conformance.tools.make_triton", __doc__)
    parser.add_argument("--out", type=user_path, required=True, help="folder of both; what is there stays")
    out = parser.parse_args().out.absolute()
    if out.name == "triton":
        parser.error(
            "--out: expected another name than triton, which Python would take for the package triton in the folder "
            "where it lies, and torch fail; for example --out triton-environments"
        )
    server, model = out / "server", out / "model"
    try:
        with _whole(server) as is_missing:
            if is_missing:
                make_server(server)
        with _whole(model) as is_missing:
            if is_missing:
                make_model(model, server)
        os.environ |= {SERVER_ENVIRONMENT: str(server), MODEL_ENVIRONMENT: str(model)}
        Environments()
    except (CannotError, LookupError) as error:
        print(f"error: {error}", file=sys.stderr)
        return CANNOT
    for name, folder in ((SERVER_ENVIRONMENT, server), (MODEL_ENVIRONMENT, model)):
        print(f"export {name}={folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

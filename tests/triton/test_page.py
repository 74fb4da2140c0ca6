"""docs/triton.md: its commands run in their order, in one shell, as a reader types them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mulo_sd.conformance.tools.serving.tritonserver import Environments, free_port
from tests.triton.page import BLOCKS

# Whatever fails, the server ends.
PROGRAM = "set -euo pipefail\ntrap 'kill ${{server:-}} 2> /dev/null || true; wait' EXIT\n{}\nwait $server || true\n"


def test_the_blocks_run(environments: Environments, demo_bundle: Path, tmp_path: Path) -> None:
    """With the environments that are there, and on ports that are free."""
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "demo-fp32").symlink_to(demo_bundle, target_is_directory=True)
    (tmp_path / "triton").mkdir()
    for name, folder in (("server", environments.server), ("model", environments.model)):
        (tmp_path / "triton" / name).symlink_to(folder, target_is_directory=True)
    text = "\n".join(BLOCKS)
    for port in ("8000", "8001"):
        assert port in text
        text = re.sub(rf"\b{port}\b", str(free_port()), text)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", PROGRAM.format(text)],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    log = (tmp_path / "triton.log").read_text() if (tmp_path / "triton.log").exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + log
    printed = done.stdout.splitlines()
    assert printed[0].startswith("model_repository/demo: mulo-sd demo")
    assert any(line.startswith("image.png ") for line in printed)
    assert '{"error":"Stub process \'demo_0_0\' is not healthy."}' in printed
    assert printed[-1] == "True"
    for name in ("image.png", "partial_0.png", "star.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_there_are_environments_or_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the skipped tests say."""
    monkeypatch.delenv("MULO_SD_TRITON", raising=False)
    with pytest.raises(LookupError, match=r"^MULO_SD_TRITON names no environment"):
        Environments()
    monkeypatch.setenv("MULO_SD_TRITON", str(tmp_path))
    monkeypatch.setenv("MULO_SD_TRITON_MODEL", str(tmp_path))
    with pytest.raises(LookupError, match=r"there is no lib/python3\*/site-packages$"):
        Environments()

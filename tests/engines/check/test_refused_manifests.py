"""`mulo-sd check` on manifests that nobody wrote: refused in one line that names the field."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.check.doctored import COMMAND, Change, change_manifest
from tests.in_process import InProcess


def plan(**changes: object) -> Change:
    """Return a change of the target's plan: of its compatibility, or of itself where it is "version" or "backend"."""

    def change(manifest: dict[str, Any]) -> None:
        entry = manifest["graphs"]["target"]["plans"][0]
        own = {name: value for name, value in changes.items() if name in ("version", "backend")}
        entry |= own
        entry["compatibility"] |= {name: changes[name] for name in changes.keys() - own.keys()}

    return change


PLAN = "graphs.target.plans.0."
SAID = f"{PLAN}compatibility."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (plan(compute_capabilities=10**9), f'{SAID}compute_capabilities: expected "any", or a list of 1 to 32 such'),
        (plan(compute_capabilities=["8.9"] * 10**5), 'such as "8.9", got 100000 of them; '),
        (plan(compute_capabilities=[]), 'expected "any", or a list of 1 to 32 such as "8.9", got 0 of them; '),
        (plan(compute_capabilities="all"), "a list of 1 to 32 such as \"8.9\", got 'all'; "),
        (plan(compute_capabilities=None), 'such as "8.9", got None; '),
        (plan(compute_capabilities=[8.9]), f'{SAID}compute_capabilities: expected numbers such as "8.9", got 8.9; '),
        (plan(compute_capabilities=["sm_89"]), "expected numbers such as \"8.9\", got 'sm_89'; "),
        (plan(compute_capabilities=["8.9\n"]), "expected numbers such as \"8.9\", got '8.9\\n'; "),
        (plan(compute_capabilities=["9" * 10**5]), 'expected numbers such as "8.9", got \'9999'),
        (plan(platforms=[]), f"{SAID}platforms: "),
        (plan(platforms=["linux-x86_64"] * 33), f"{SAID}platforms: "),
        (plan(platforms=["Linux"]), f"{SAID}platforms.0: "),
        (plan(platforms="linux-x86_64"), f"{SAID}platforms: "),
        (plan(product="tensorflow"), f"{SAID}product: "),
        (plan(or_later="perhaps"), f"{SAID}or_later: "),
        (plan(hardware_compatibility="all"), f"{SAID}hardware_compatibility: "),
        (plan(built_on={"os": "\x1b[31mred"}), f"{SAID}built_on.os: "),
        (plan(built_on={"os": "Linux", "gpu": "G" * 121}), f"{SAID}built_on.gpu: "),
        (plan(built_on={}), f"{SAID}built_on.os: "),
        (plan(more=1), f"{SAID}more: "),
        (plan(version="1.7\n"), f"{PLAN}version: "),
        (plan(version="1" * 65), f"{PLAN}version: "),
        (plan(version=1.7), f"{PLAN}version: "),
        (plan(backend="tensorrt"), f"{PLAN}backend: "),
    ],
)
def test_absurd_values(bundle: Path, in_process: InProcess, change: Change, said: str) -> None:
    change_manifest(bundle, change)
    done = in_process.run(COMMAND, str(bundle), "--backend", "trt-rtx")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {bundle / 'manifest.json'}: ")
    assert said in line
    assert len(line) < 600


@pytest.mark.parametrize("field", ["product", "platforms", "compute_capabilities", "built_on"])
def test_missing_fields(bundle: Path, in_process: InProcess, field: str) -> None:
    change_manifest(bundle, lambda manifest: manifest["graphs"]["target"]["plans"][0]["compatibility"].pop(field))
    done = in_process.run(COMMAND, str(bundle))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {bundle / 'manifest.json'}: {SAID}{field}: Field required; ")
    assert len(done.stderr.splitlines()) == 1


def test_a_plan_that_was_changed(bundle: Path, in_process: InProcess) -> None:
    path = bundle / "plans/trt-rtx/target.plan"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = in_process.run(COMMAND, str(bundle))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {path}: expected sha256 ")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_bundle(tmp_path: Path, in_process: InProcess, arguments: tuple[str, ...]) -> None:
    done = in_process.run(COMMAND, str(tmp_path / "nowhere"), *arguments)
    line = f"{tmp_path / 'nowhere'}: expected a bundle's folder, found none; build a bundle in a new folder with "
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {line}")
    if arguments:
        assert json.loads(done.stdout)["error"].startswith(line)
    else:
        assert done.stdout == ""

"""docs/serving.md: its commands and blocks of Python run against a service that they start; its tables are whole."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from mulo_sd.conformance.tools.serving.served import Served
from mulo_sd.engines.http import errors, orders
from mulo_sd.engines.http.image_request import RequestFields
from mulo_sd.engines.http.options import ServeOptions, make_options
from mulo_sd.engines.http.qualities import OTHER_NAMES, QUALITIES, Quality

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
SERVE = ROOT / "docs" / "serve"
ADDRESS = "http://127.0.0.1:8000"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
START = "python -m engines.serve\n"


def section(title: str) -> str:
    """Return a section of the page."""
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]


def test_the_blocks_run(minimal_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a smaller bundle of the same grammar, on a port that is free."""
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "demo-fp32").symlink_to(minimal_bundle, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULO_SD_BUNDLES", raising=False)
    kinds = [kind for kind, _ in BLOCKS]
    assert kinds == ["bash", "python", "python", "bash", "toml"]
    assert BLOCKS[0][1] == START
    names: dict[str, Any] = {}
    with Served() as served:
        for kind, block in BLOCKS[1:]:
            text = block.replace(ADDRESS, served.url)
            if kind == "python":
                exec(compile(text, "docs/serving.md", "exec"), names)
            elif kind == "bash":
                curl = shutil.which("curl")
                if curl is None:
                    pytest.skip("curl is not installed: the blocks with it are not run")
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", text.replace("curl -sS", f"{curl} -sSf")],
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=True,
                )
                assert "/v1/images/" in done.stdout
                assert '"status":"ready"' in done.stdout
    assert Path("circle.png").stat().st_size > 0
    (tmp_path / "keys").write_text("a-key-of-the-page\n")
    options = make_options(
        {name.replace("-", "_"): value for name, value in tomllib.loads(BLOCKS[-1][1]).items()}, ServeOptions
    )
    assert options.deadline == 60


def test_the_readmes_command_serves(minimal_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last part; the first ones install."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.findall(r"<!-- serve-command -->\n```bash\n(.*?)\n```\n<!-- /serve-command -->", readme, re.DOTALL)
    assert len(block) == 1
    assert block[0].endswith("&& .venv/bin/python -m engines.serve")
    assert '-e ".[export,serve]"' in block[0]


def test_the_page_names_every_field() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("Fields"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    declared = {*RequestFields.model_fields}
    assert named == declared | {*QUALITIES} | {"quality"}


def test_the_page_names_every_quality() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section("Fields"), re.MULTILINE))
    for name in get_args(Quality):
        assert set(re.findall(r"`(\w+)`", rows[name])) == {own for own, meant in OTHER_NAMES.items() if meant == name}


def test_the_page_names_every_option_with_its_default() -> None:
    rows = re.findall(r"^\| (`--.*?`) \| (.*?) \|", section("Options"), re.MULTILINE)
    named = {name for options, _ in rows for name in re.findall(r"`--([a-z-]+)`", options)}
    declared = {name.replace("_", "-") for name in ServeOptions.model_fields}
    assert named == declared - {"bundles"} | {"bundle", "config"}
    for options, default in rows:
        names = [name.replace("-", "_") for name in re.findall(r"`--([a-z-]+)`", options)]
        values = [getattr(ServeOptions(), name) for name in names if name in ServeOptions.model_fields]
        told = [text for text in default.replace("`", "").split(", ") if text]
        numbers = [value for value in values if isinstance(value, int | float | str) and value != ""]
        if numbers and told:
            assert told == [f"{value:g}" if isinstance(value, int | float) else value for value in numbers], options


def test_the_page_names_every_code() -> None:
    """Those that stand in the sources; a status that the framework chose has its phrase for a code."""
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(errors.__file__).parent.glob("*.py"))
    codes = set(re.findall(r'code="(\w+)"', sources))
    codes |= {
        "invalid_value",
        "unknown_parameter",
        "method_not_allowed",
        "not_found",
        "service_loading",
        "service_draining",
    }
    table = section("Errors and retries")
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| [\d, ]+ \| (.*?) \|", table, re.MULTILINE)))) == codes
    assert orders


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = (SERVE / "mulo-sd.service").read_text(encoding="utf-8")
    assert "\nType=notify\n" in text
    stop = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > ServeOptions().grace
    unit = tmp_path / "mulo-sd.service"
    unit.write_text(text.replace("/opt/mulo-sd/bin/mulo-sd", sys.executable))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    mine = [line for line in done.stderr.splitlines() if "mulo-sd" in line]
    assert (done.returncode, mine) == (0, [])


def test_the_containers_command_serves(minimal_bundle: Path) -> None:
    text = (SERVE / "Containerfile").read_text(encoding="utf-8")
    command = re.findall(r'^CMD \["(.*)"\]$', text, re.MULTILINE)[-1].split('", "')
    assert command[:2] == ["mulo-sd", "serve"]
    given = command[2:]
    given[given.index("0.0.0.0")] = "127.0.0.1"
    given[given.index("demo=/bundles/demo-fp32")] = f"demo={minimal_bundle}"
    keys = given.index("--api-key-file")
    with Served(*given[:keys], *given[keys + 2 :]) as served:
        assert served.get("/v1/models")[0] == 200
        probe = re.findall(r'CMD \["python", "-c", "(.*)"\]\nCMD', text)
        assert len(probe) == 1
        program = probe[0].replace(ADDRESS, served.url)
        subprocess.run([sys.executable, "-c", program], env=dict(os.environ), timeout=60, check=True)

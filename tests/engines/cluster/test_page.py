"""docs/cluster.md: its commands run, in the order of the page, and its tables are whole."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mulo_sd.conformance.tools.serving.head import Head
from mulo_sd.conformance.tools.serving.replicas import engine_replicas
from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from mulo_sd.engines.cluster.options import CLUSTER_ONLY, ClusterOptions

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
KILL = "pkill -KILL --oldest --full 'ray::ServeReplica:mulo-sd:engine'"


def section(title: str) -> str:
    """Return a section of the page."""
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]


def blocks(title: str) -> list[str]:
    """Return the commands of a section."""
    return re.findall(r"^```bash\n(.*?)^```$", section(title), re.DOTALL | re.MULTILINE)


def run(script: str, folder: Path, **variables: str) -> str:
    """Run a script as a reader's shell does, with this Python first, and return what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **variables}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.usefixtures("ray_extra")
def test_one_machine(demo_bundle: Path, tmp_path: Path) -> None:
    start, ask = blocks("Start on one machine")
    command = start.splitlines()[-1].split()
    assert command[:3] == ["python", "-m", "engines.serve"]
    with Served(*command[3:], *bundle_argument("demo", demo_bundle)) as served:
        assert KILL in ask
        victim = engine_replicas(served.process.pid)[0]  # others of this machine may run replicas, too
        told = run(ask.replace(KILL, f"kill -KILL {victim}").replace(ADDRESS, served.url), tmp_path)
        assert told == "4 images\n"


@pytest.mark.usefixtures("ray_extra")
def test_several_machines(minimal_bundle: Path, tmp_path: Path) -> None:
    """One of them: on free ports, and with a small bundle at the page's path."""
    begin, deploy, trial = blocks("Start on several machines")
    token, generate, start = begin.splitlines()
    assert token == "export RAY_AUTH_MODE=token"
    assert generate == "ray get-auth-token --generate"
    assert start.startswith("ray start --head ")
    path = tmp_path / "docs" / "cluster" / "mulo-sd.yaml"
    path.parent.mkdir(parents=True)
    config = yaml.safe_load((ROOT / path.relative_to(tmp_path)).read_text(encoding="utf-8"))
    arguments = config["applications"][0]["args"]
    assert arguments["bundles"] == {"demo": "bundles/demo-fp32"}
    with Head(cpus=3) as head:
        arguments["bundles"]["demo"] = str(minimal_bundle)
        config["http_options"]["port"] = head.port
        path.write_text(yaml.safe_dump(config))
        variables = {"RAY_AUTH_MODE": head.environment["RAY_AUTH_MODE"], "RAY_DASHBOARD_ADDRESS": head.dashboard}
        run(
            deploy.replace("serve deploy", f"serve deploy -a {head.dashboard}").replace("serve status", "true"),
            tmp_path,
            **variables,
        )
        head.wait_until_running("mulo-sd")
        applications = head.status() or {}
        replicas = applications["mulo-sd"]["deployments"]["engine"]["replicas"]
        assert [replica["state"] for replica in replicas] == ["RUNNING", "RUNNING"]
    words = trial.split()
    assert words[:3] == ["serve", "run", "mulo_sd.engines.cluster.app:build"]
    given = dict(word.split("=", 1) for word in words[3:])
    assert given["bundles"] == "demo=bundles/demo-fp32"
    # In a process of its own: Ray's import warns of what others deprecate.
    built = f"from mulo_sd.engines.cluster.app import build; build({given | {'bundles': f'demo={minimal_bundle}'}})"
    subprocess.run([sys.executable, "-c", built], timeout=120, check=True)


def test_the_config_file_has_options_of_ours() -> None:
    config = yaml.safe_load((ROOT / "docs" / "cluster" / "mulo-sd.yaml").read_text(encoding="utf-8"))
    application = config["applications"][0]
    assert application["name"] == ClusterOptions().app_name
    assert ClusterOptions.model_validate(application["args"] | {"grace": 30.0}).replicas == 2
    assert config["http_options"] == {"host": ClusterOptions().host, "port": ClusterOptions().port}


def test_the_page_names_every_option_with_its_default() -> None:
    rows = re.findall(r"^\| (`--.*?`) \| (.*?) \|", section("Options"), re.MULTILINE)
    named = [name.replace("-", "_") for options, _ in rows for name in re.findall(r"`--([a-z-]+)`", options)]
    assert sorted(named) == sorted(CLUSTER_ONLY)
    for options, default in rows:
        names = [name.replace("-", "_") for name in re.findall(r"`--([a-z-]+)`", options)]
        values = [getattr(ClusterOptions(), name) for name in names]
        shown = [f"{value:g}" if isinstance(value, int | float) else str(value or "none") for value in values]
        assert default.replace("`", "").split(", ") == shown, options

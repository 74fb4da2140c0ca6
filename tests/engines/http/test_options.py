"""The options of the service: from a TOML file, each checked."""

from pathlib import Path
from typing import Any

import pytest

from mulo_sd.engines.http.options import ServeOptions, read_options
from mulo_sd.engines.ingress.options import make_options
from mulo_sd.engines.numbers import SettingsError

EVERY = """
backend = "ort"
threads = 2
text-model = "flan"
size = 8
workers = 2
queue = 16
deadline = 60
grace = 2.5
host = "::1"
port = 9000
public-url = "https://images.example.org"
api-key-file = "keys"
max-body-kb = 64
max_prompt = 1000
keep-seconds = 30
keep-mb = 16
log-format = "text"
traces = "http://127.0.0.1:4318/v1/traces"

[bundles]
demo = "bundles/demo-fp32"
"minimal.v1" = "bundles/minimal-fp32"
"""


def options(tmp_path: Path, text: str) -> ServeOptions:
    path = tmp_path / "serve.toml"
    path.write_text(text)
    return make_options(read_options(path), ServeOptions)


def test_a_file_may_name_every_option(tmp_path: Path) -> None:
    read = options(tmp_path, EVERY)
    assert list(read.bundles) == ["demo", "minimal.v1"]
    assert (read.deadline, read.grace, read.max_prompt) == (60.0, 2.5, 1000)
    assert read.limits.body_bytes == 64 * 1024
    assert read.limits.kept_bytes == 16 * 2**20
    named = {name for name in ServeOptions.model_fields if getattr(read, name) != getattr(ServeOptions(), name)}
    assert named == set(ServeOptions.model_fields) - {"backend"}


def test_the_limits_follow_the_options() -> None:
    assert ServeOptions().limits == type(ServeOptions().limits)()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size = 0", "size: expected greater than or equal to 1, got 0"),
        ("size = 1.5", "size: expected integer, got 1.5"),
        ("deadline = 0", "deadline: expected greater than 0, got 0.0"),
        ("deadline = nan", "deadline: expected"),
        ("port = 70000", "port: expected less than or equal to 65535, got 70000"),
        ('log-format = "xml"', "log-format: expected 'json' or 'text', got 'xml'"),
        ('public-url = "example.org"', "public-url: expected"),
        ("sizes = 1", "sizes: expected one of backend, threads"),
        ("[bundles]\n'a b' = 'x'", "bundles.a b: expected"),
        ("[bundles]\na = 1", "bundles.a: expected string, got 1"),
        ("bundles = 3", "bundles: expected dictionary, got 3"),
        ("size = ", "expected TOML"),
    ],
)
def test_a_bad_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        options(tmp_path, text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="found none"):
        read_options(tmp_path / "none.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * 2**19)
    with pytest.raises(SettingsError, match="expected at most"):
        read_options(tmp_path / "large.toml")


@pytest.mark.parametrize("value", [{"grace": -1.0}, {"keep_mb": -1}, {"queue": 2**21}, {"threads": 0}])
def test_numbers_out_of_range(value: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="expected"):
        make_options(value, ServeOptions)

"""The wheel holds one package, `mulo_sd`, whose sub-packages lie beside it here. All the rest is in pyproject.toml."""

from setuptools import find_packages, setup

PARTS = ("conformance", "engines", "export", "reference")

setup(
    packages=["mulo_sd", *(f"mulo_sd.{name}" for part in PARTS for name in find_packages(include=[part, f"{part}.*"]))],
    package_dir={"mulo_sd": "mulo_sd"} | {f"mulo_sd.{part}": part for part in PARTS},
)

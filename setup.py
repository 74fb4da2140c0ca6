"""The wheel holds one package, `mulo_sd`, whose sub-packages lie beside it here. All the rest is in pyproject.toml."""

from setuptools import find_packages, setup

PARTS = ("conformance", "engines", "export", "reference")
# What no service needs. The demo's distribution holds the training, the study, the comparison, the benchmark, the test
# vectors and the mutants, which test the suite (reference/demo/pyproject.toml); the tools serve this repository's
# documentation, the fuzzing is of what its own commands read, and tests of rules are of the reference or of the laws.
LEFT_OUT = (
    "reference.demo.train*",
    "reference.demo.weights*",
    "conformance.tools*",
    "conformance.fuzz*",
    "conformance.mutants*",
    "conformance.study*",
    "conformance.compare*",
    "conformance.bench*",
    "conformance.vectors*",
    "conformance.rules.on_the_reference*",
    "conformance.rules.planted*",
)

setup(
    packages=[
        "mulo_sd",
        *(f"mulo_sd.{name}" for part in PARTS for name in find_packages(include=[part, f"{part}.*"], exclude=LEFT_OUT)),
    ],
    package_dir={"mulo_sd": "mulo_sd"} | {f"mulo_sd.{part}": part for part in PARTS},
)

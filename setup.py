"""The wheel holds one package, `mulo_sd`, whose sub-packages lie beside it here. All the rest is in pyproject.toml."""

from setuptools import find_packages, setup
from setuptools.command.editable_wheel import editable_wheel

PARTS = ("engines", "export", "reference")
# What the distribution of the demo holds, training and the second world among it (reference/demo/pyproject.toml).
LEFT_OUT = ("reference.demo.weights*", "reference.pictograms*", "reference.train", "reference.train.*")
# A distribution of its own (conformance/pyproject.toml); a checkout needs it not.
SUITE = "mulo_sd.conformance"


class EditableWheel(editable_wheel):  # type: ignore[misc]  # setuptools has no types
    """An editable install finds the conformance suite, too, also where the system has no symbolic links."""

    def run(self) -> None:
        self.distribution.packages.append(SUITE)
        super().run()


setup(
    packages=[
        "mulo_sd",
        *(f"mulo_sd.{name}" for part in PARTS for name in find_packages(include=[part, f"{part}.*"], exclude=LEFT_OUT)),
    ],
    package_dir={"mulo_sd": "mulo_sd", SUITE: "conformance"} | {f"mulo_sd.{part}": part for part in PARTS},
    cmdclass={"editable_wheel": EditableWheel},
)

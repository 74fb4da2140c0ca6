"""A command that lacks a package says in a line which extra brings it."""

from mulo_sd.commands import COMMANDS

# What the extras of the commands bring, by the names that Python imports.
OPTIONAL = frozenset(
    {
        "fastapi",
        "filelock",
        "h11",
        "hypothesis",
        "matplotlib",
        "onnx",
        "onnxscript",
        "polygraphy",
        "prometheus_client",
        "pytest",
        "ray",
        "safetensors",
        "starlette",
        "tokenizers",
        "torch",
        "uvicorn",
    }
)
# For modules that are no command of `mulo-sd`.
EXTRA_OF_FOLDER = {"conformance": "test", "export": "export", "reference": "reference"}
# Packages that a command needs for one of its options alone.
EXTRA_OF_PACKAGE = {"ray": "ray", "tokenizers": "captions"}
# What the distribution mulo-sd-conformance holds.
SUITE = "mulo_sd.conformance"
# What the distribution mulo-sd-demo holds.
DEMO = (
    "mulo_sd.conformance.bench",
    "mulo_sd.conformance.compare",
    "mulo_sd.conformance.mutants",
    "mulo_sd.conformance.study",
    "mulo_sd.conformance.vectors",
    "mulo_sd.reference.pictograms",
    "mulo_sd.reference.train.",
)


def missing_package(error: BaseException, module: str) -> str | None:
    """Return a line about a package that is not installed, or None where the error is of another kind.

    Args:
        error: What ended a command.
        module: The command's, with or without `mulo_sd.` before it.
    """
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if name is None:
        return None
    path = module.removeprefix("mulo_sd.").removesuffix(".__main__")
    is_suite = name.removesuffix(".__main__") == SUITE
    # Most of the demo's commands lie in the suite's folder, which is missing first.
    if f"{name}.".startswith(DEMO) or (is_suite and f"mulo_sd.{path}".startswith(DEMO)):
        return 'the demo is not installed; install it with `pip install "mulo-sd[demo]"`'
    if not is_suite and name.partition(".")[0] not in OPTIONAL:
        return None
    extras = next((entry.extras for entry in COMMANDS.values() if entry.module.removesuffix(".__main__") == path), "")
    extras = EXTRA_OF_PACKAGE.get(name.partition(".")[0], extras) or EXTRA_OF_FOLDER.get(
        path.partition(".")[0], "export"
    )
    missing = "the conformance suite" if is_suite else name.partition(".")[0]
    return f'{missing} is not installed; install it with `pip install "mulo-sd[{extras}]"`'

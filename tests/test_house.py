"""The house keeps small rooms: a file holds one idea, a function is seen as a whole."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engines", "reference", "export", "conformance", "mulo_sd")
# A Triton kernel is one function: its program cannot be cut without cutting what is computed at once.
KERNELS = Path("engines/backends/torch_cuda/kernels")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60


def modules() -> list[Path]:
    """Return the packages' modules, each once: `mulo_sd` links the others."""
    paths = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(path for path in paths if path.parts[:1] != ("mulo_sd",) or path.parts[1] not in PACKAGES)


def long_functions(source: str, most: int = MAX_FUNCTION_LINES) -> list[str]:
    """Return the functions of more lines, decorators aside, docstrings counted."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in nodes]
    return [f"{name}: {lines} lines" for name, lines in sizes if lines > most]


def test_modules_are_found() -> None:
    paths = modules()
    assert len(paths) == len({(ROOT / path).resolve() for path in paths}), "one of them twice, through a link"
    assert {path.parts[0] for path in paths} == set(PACKAGES)


def test_long_functions_are_found() -> None:
    method = "class {}:\n    async def call(self):\n" + "        pass\n" * 3
    source = "def short():\n    pass\n" + method.format("One") + method.format("Two")
    assert long_functions(source, 3) == ["call: 4 lines"] * 2
    assert long_functions(source, 4) == []


def test_files_are_short() -> None:
    sizes = {path: len((ROOT / path).read_text().splitlines()) for path in modules() if KERNELS not in path.parents}
    assert {str(path): lines for path, lines in sizes.items() if lines > MAX_FILE_LINES} == {}, "split them by idea"


def test_functions_are_short() -> None:
    functions = {path: long_functions((ROOT / path).read_text()) for path in modules() if KERNELS not in path.parents}
    assert {str(path): names for path, names in functions.items() if names} == {}, "split them"

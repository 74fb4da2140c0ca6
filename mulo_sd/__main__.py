"""The command `mulo-sd`: one entry point, whose first argument names the command to run."""

import importlib
import sys
from typing import NamedTuple

from mulo_sd.interruption import say_interruptions_in_a_line


class Command(NamedTuple):
    """A command: the module whose `main` it runs, and what it is for."""

    module: str
    purpose: str


COMMANDS = {
    "generate": Command("engines.generate", "draw a prompt, or a file of prompts, with a bundle"),
    "check-layout": Command("engines.check_layout", "check a folder of images before a scorer reads it"),
    "build": Command("export.build", "compile models to ONNX graphs and TensorRT plans: a bundle"),
    "full-size": Command("export.full_size", "write random checkpoints of the published sizes, for trials of a build"),
    "conformance": Command("conformance.__main__", "test an engine against the reference, rule by rule"),
    "mutants": Command("conformance.mutants.__main__", "list the planted defects that the suite finds"),
    "vectors": Command("conformance.vectors.__main__", "write or check test vectors for other implementations"),
    "bench": Command("conformance.bench.__main__", "measure decodes, pass by pass"),
    "study": Command("conformance.study.__main__", "measure what each setting does to speed and quality"),
    "calibrate": Command("conformance.calibrate.__main__", "search settings for a bundle and prompts"),
    "draw": Command("reference.demo.draw", "draw with the eager specification"),
    "train": Command("reference.demo.train.__main__", "train the demo's models"),
}


def _usage() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{command.purpose}" for name, command in COMMANDS.items()]
    return "\n".join(
        ["usage: mulo-sd COMMAND [options]", "", *lines, "", "Each has its own help: mulo-sd COMMAND --help"]
    )


def main() -> int:
    """Run the command that the first argument names; return its exit status."""
    say_interruptions_in_a_line()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("", "-h", "--help"):
        print(_usage(), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    if name not in COMMANDS:
        print(f"mulo-sd: error: expected one of {', '.join(COMMANDS)}, got {name!r:.80}", file=sys.stderr)
        return 2
    sys.argv[:2] = [f"mulo-sd {name}"]
    module = importlib.import_module(f"mulo_sd.{COMMANDS[name].module}")
    status: int = module.main()
    return status


if __name__ == "__main__":
    sys.exit(main())

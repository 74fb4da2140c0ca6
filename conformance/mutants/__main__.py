"""python -m conformance.mutants --out docs/mutants.md: which law finds which mutant, as a table."""

import os
import sys
from pathlib import Path

import torch
from rich.progress import track

from mulo_sd.conformance.mutants.catalogue import MUTANTS, SIZED_MUTANTS
from mulo_sd.conformance.mutants.mutant import Kill, Mutant, kills, laws_of
from mulo_sd.conformance.mutants.sized import SizedMutant, sized_kills
from mulo_sd.conformance.subject import SubjectError
from mulo_sd.conformance.targets import open_target, preset_target
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable, write_text_whole
from mulo_sd.engines.passes.auto_widths import VARIABLE

HEAD = """# Mutants

Engines with one plausible defect each. The suite must find each by the rule that claims it, on the minimal preset, or
where large, oblong, unguided or shared passes alone show it, on `minimal-large` or `minimal-oblong`.
Written by `python -m conformance.mutants --out docs/mutants.md` from `conformance/mutants/`: for each mutant the laws
of its rule that find it, and what the first of them says.

| mutant | rule | found by | what it says |
|---|---|---|---|
"""
LONGEST = 90


def in_a_cell(message: str) -> str:
    """Return the telling line of a message, short enough for a table."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    telling = next((line for line in lines if "Max absolute difference" in line), lines[0] if lines else "")
    text = telling.replace("|", "/").replace("`", "'")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def row(mutant: Mutant, kills: list[Kill]) -> str:
    """Return a mutant's line of the table."""
    laws = ", ".join(f"`{kill.law.law.__name__}`" for kill in kills) or "**nothing**"
    said = in_a_cell(kills[0].message) if kills else ""
    return f"| {mutant.name} | {mutant.rule} | {laws} | {said} |\n"


def killed(mutant: Mutant) -> list[Kill]:
    """Return what finds a mutant on its own preset.

    Raises:
        SubjectError: the preset cannot be built or opened.
    """
    if isinstance(mutant, SizedMutant):
        return sized_kills(mutant, open_target(preset_target(mutant.preset, "fp32")))
    return kills(mutant, open_target(preset_target("minimal", "fp32")), laws_of(mutant.rule))


@command
def main() -> int:
    """Write the table; 1 where a mutant lives."""
    parser = command_parser("conformance.mutants", __doc__)
    parser.add_argument("--out", type=user_path, required=True, help="a Markdown file")
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    os.environ[VARIABLE] = "1"  # automatic widths as in the tests: what is said does not depend on what is measured
    try:
        check_writable(out)
        mutant_and_kills = [(mutant, killed(mutant)) for mutant in track((*MUTANTS, *SIZED_MUTANTS), "mutants")]
    except SubjectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {out}: {error.strerror or error}", file=sys.stderr)
        return 2
    living = [mutant.name for mutant, by in mutant_and_kills if not by]
    text = HEAD + "".join(row(mutant, by) for mutant, by in mutant_and_kills)
    text += f"\n{len(mutant_and_kills) - len(living)} of {len(mutant_and_kills)} are found.\n"
    try:
        write_text_whole(out, text)
    except OSError as error:
        print(f"error: {out}: {error.strerror or error}", file=sys.stderr)
        return 2
    for name in living:
        print(f"lives: {name}", file=sys.stderr)
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main())

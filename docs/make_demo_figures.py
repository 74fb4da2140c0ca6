"""python docs/make_demo_figures.py STUDY: print the tables of docs/demo.md from a study's summary."""

import json
import sys
from pathlib import Path

TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")


def main() -> None:
    """Print Markdown."""
    lines = json.loads((Path(sys.argv[1]) / "summary.json").read_text(encoding="utf-8"))
    print("| decode | " + " | ".join(TASKS) + " | overall |")
    print("|---|" + "---|" * 7)
    for line in lines[:5]:
        cells = [f"{100 * line['per_task'].get(task, 0):.1f}" for task in TASKS]
        print(f"| {line['variant']} | " + " | ".join(cells) + f" | {100 * line['score']:.1f} |")
    print()
    print("| decode | score % | accepted % | resampled % | NFE target | NFE drafter | s an image | speed-up |")
    print("|---|" + "---|" * 7)
    for line in lines:
        figures = (
            f"{100 * line['score']:.1f}",
            f"{100 * line['acceptance_rate']:.1f}",
            f"{100 * line['resampled_rate']:.1f}",
            f"{line['nfe_target']:.0f}",
            f"{line['nfe_drafter']:.0f}",
            f"{line['seconds']:.2f}",
            f"{line['speed_up']:.2f}",
        )
        print(f"| {line['variant']} | " + " | ".join(figures) + " |")


if __name__ == "__main__":
    main()

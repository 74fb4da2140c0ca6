"""python -m conformance.tools.write_comparison: put a comparison's report into docs/comparison and its page."""

import argparse
import re
import shutil
import sys
from pathlib import Path

from mulo_sd.conformance.compare.report import NUMBERS_NAME, PAGE_NAME, PICTURE_NAME
from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import make_folder, write_bytes_whole

DOCS = Path(__file__).resolve().parents[2] / "docs"
# What the page shows of the report: "table: SECTION / TITLE" stands before a part and "/table" behind it.
MARK = re.compile(r"(<!-- table: (.+?) / (.+?) -->\n).*?(<!-- /table -->)", re.DOTALL)


def parts_of(report: str) -> dict[tuple[str, str], str]:
    """Return the report's parts by the beginning of their section's title, up to a colon, and their own title."""
    parts = {}
    for section in re.split(r"^## ", report, flags=re.MULTILINE)[1:]:
        name = section.partition("\n")[0].partition(":")[0]
        for part in re.split(r"^### ", section, flags=re.MULTILINE)[1:]:
            title, _, text = part.partition("\n")
            parts[name, title] = text.strip("\n")
    return parts


def page_with_tables(page: str, report: str) -> str:
    """Return a page with the report's parts where it marks them, and a line where the report lacks one."""
    parts = parts_of(report)

    def filled(match: re.Match[str]) -> str:
        text = parts.get((match[2], match[3]), "Not measured yet.")
        return f"{match[1]}\n{text}\n\n{match[4]}"

    return MARK.sub(filled, page)


@command
def main() -> int:
    """Copy the report, and write the page's tables anew."""
    parser = argparse.ArgumentParser(prog=program("conformance.tools.write_comparison"), description=purpose(__doc__))
    parser.add_argument("--report", type=user_path, default=Path("compare"), help="its folder; default: %(default)s")
    parser.add_argument("--docs", type=user_path, default=DOCS, help="folder of the page; default: the repository's")
    arguments = parser.parse_args()
    page = arguments.docs / "comparison.md"
    try:
        report = (arguments.report / PAGE_NAME).read_text(encoding="utf-8")
        written = page_with_tables(page.read_text(encoding="utf-8"), report)
        make_folder(arguments.docs / "comparison")
        for name in (PAGE_NAME, NUMBERS_NAME, PICTURE_NAME):
            shutil.copyfile(arguments.report / name, arguments.docs / "comparison" / name)
        write_bytes_whole(page, written.encode())
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())

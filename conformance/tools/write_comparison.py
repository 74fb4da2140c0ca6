"""python -m conformance.tools.write_comparison: put a comparison's report into docs/comparison and its page."""

import re
import shutil
import sys
from pathlib import Path

from mulo_sd.conformance.compare.report import NUMBERS_NAME, PAGE_NAME, PICTURE_NAME
from mulo_sd.conformance.worlds.choice import DEMO, NAMES, folder_of
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import make_folder, write_bytes_whole

DOCS = Path(__file__).resolve().parents[2] / "docs"
# What the page shows of the demo's report: "table: SECTION / TITLE" stands before a part and "/table" behind it; of
# another world's "table of WORLD: SECTION / TITLE".
MARK = r"(<!-- table{}: (.+?) / (.+?) -->\n).*?(<!-- /table -->)"


def parts_of(report: str) -> dict[tuple[str, str], str]:
    """Return the report's parts by the beginning of their section's title, up to a colon, and their own title."""
    parts = {}
    for section in re.split(r"^## ", report, flags=re.MULTILINE)[1:]:
        name = section.partition("\n")[0].partition(":")[0]
        for part in re.split(r"^### ", section, flags=re.MULTILINE)[1:]:
            title, _, text = part.partition("\n")
            parts[name, title] = text.strip("\n")
    return parts


def page_with_tables(page: str, report: str, world: str = DEMO) -> str:
    """Return a page with a report's parts where it marks them, and a line where the report lacks one.

    Args:
        page: Whole.
        report: Of one world.
        world: Whose parts are written.
    """
    parts = parts_of(report)

    def filled(match: re.Match[str]) -> str:
        text = parts.get((match[2], match[3]), "Not measured yet.")
        return f"{match[1]}\n{text}\n\n{match[4]}"

    mark = MARK.format("" if world == DEMO else f" of {re.escape(world)}")
    return re.sub(mark, filled, page, flags=re.DOTALL)


@command
def main() -> int:
    """Copy the report, and write the page's tables anew."""
    parser = command_parser("conformance.tools.write_comparison", __doc__)
    parser.add_argument("--report", type=user_path, default=Path("compare"), help="its folder; default: %(default)s")
    parser.add_argument("--docs", type=user_path, default=DOCS, help="folder of the page; default: the repository's")
    parser.add_argument("--world", choices=NAMES, default=DEMO, help="whose report; default: %(default)s")
    arguments = parser.parse_args()
    source = folder_of(arguments.report, arguments.world)
    copies = folder_of(arguments.docs / "comparison", arguments.world)
    page = arguments.docs / "comparison.md"
    try:
        report = (source / PAGE_NAME).read_text(encoding="utf-8")
        written = page_with_tables(page.read_text(encoding="utf-8"), report, arguments.world)
        make_folder(copies)
        for name in (PAGE_NAME, NUMBERS_NAME, PICTURE_NAME):
            shutil.copyfile(source / name, copies / name)
        write_bytes_whole(page, written.encode())
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())

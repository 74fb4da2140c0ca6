"""What docs/triton.md holds."""

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "triton.md").read_text(encoding="utf-8")
BLOCKS: list[str] = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    """Return a section of the page."""
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]

"""The card of a model: what was trained, on what, for how long, where, and how well it did."""

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mulo_sd.engines.files.text_files import TextFileError, read_text, strict_json
from mulo_sd.engines.files.whole_files import write_text_whole
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.starts import file_hash

MAX_BYTES = 2**20


def machine() -> str:
    """Name the machine as a person would: processor, threads, torch."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def write_card(path: Path, weights: Path, facts: dict[str, Any]) -> None:
    """Write a card as JSON beside the weights that it describes."""
    card = {
        "weights": weights.name,
        "sha256": file_hash(weights),
        "bytes": weights.stat().st_size,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        **facts,
    }
    write_text_whole(path, json.dumps(card, indent=2) + "\n")


def read_card(path: Path) -> dict[str, Any]:
    """Read a card.

    Raises:
        RunError: it is none.
    """
    try:
        card = strict_json(read_text(path, MAX_BYTES, "the card of a model"))
    except (TextFileError, ValueError):
        card = None
    if not isinstance(card, dict):
        raise RunError(f"{path}: expected the card of a model, got something else; move it away")
    return card

"""The model card: what was trained, on what, for how long, where, and how well it did."""

import hashlib
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mulo_sd.engines.files.whole_files import write_text_whole


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
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "bytes": weights.stat().st_size,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        **facts,
    }
    write_text_whole(path, json.dumps(card, indent=2) + "\n")

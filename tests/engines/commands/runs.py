"""Prompts, and the quickest settings, for runs over many prompts."""

import json
from pathlib import Path
from typing import Any

from mulo_sd.engines.commands.layouts import Task

PROMPTS = ("a red circle", "two blue squares", "a star and a cross")
QUICK: dict[str, Any] = {"mode": "parallel", "drafters": (2,), "tau": 0.0, "draft_window": 2}
OPTIONS = ["--drafters", "2", "--tau", "0", "--draft-window", "2"]


def write_prompts(layout: str, folder: Path) -> Path:
    """Write what a scorer's authors publish."""
    if layout == "dpg":
        (folder / "prompts").mkdir()
        for index, prompt in enumerate(PROMPTS):
            (folder / "prompts" / f"COCOval2014_{index}.txt").write_text(prompt + "\n")
        return folder / "prompts"
    path = folder / "prompts.txt"
    if layout == "geneval":
        lines = [json.dumps({"tag": "colors", "include": [], "prompt": prompt}) for prompt in PROMPTS]
        path.write_text("\n".join(lines) + "\n")
    elif layout == "coco":
        annotations = [
            {"image_id": 500 - index, "id": 90 - index, "caption": prompt} for index, prompt in enumerate(PROMPTS)
        ]
        annotations.append({"image_id": 500, "id": 99, "caption": "a later caption of the same image"})
        path.write_text(json.dumps({"annotations": annotations}))
    else:
        path.write_text("\n\n".join(PROMPTS) + "\n\n")
    return path


def dpg_tasks() -> list[Task]:
    return [Task(prompt, (f"COCOval2014_{index}.png",), tiles=4) for index, prompt in enumerate(PROMPTS)]


def plain_tasks(*prompts: str) -> list[Task]:
    return [
        Task(prompt, (f"{index:05d}.png",), where=f"p.txt: line {index + 1}") for index, prompt in enumerate(prompts)
    ]

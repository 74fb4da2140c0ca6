"""Prompts, and the quickest settings, for runs over many prompts."""

from typing import Any

from mulo_sd.engines.commands.layouts import Task

PROMPTS = ("a red circle", "two blue squares", "a star and a cross")
QUICK: dict[str, Any] = {"mode": "parallel", "drafters": (2,), "tau": 0.0, "draft_window": 2}
OPTIONS = ["--drafters", "2", "--tau", "0", "--draft-window", "2"]


def dpg_tasks() -> list[Task]:
    return [Task(prompt, (f"COCOval2014_{index}.png",), tiles=4) for index, prompt in enumerate(PROMPTS)]


def plain_tasks(*prompts: str) -> list[Task]:
    return [
        Task(prompt, (f"{index:05d}.png",), where=f"p.txt: line {index + 1}") for index, prompt in enumerate(prompts)
    ]

"""Folders of images as the official scorers read them: GenEval, DPG-Bench, FID and HPSv2 on MS-COCO; or a list."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.paths import expanded

MAX_PROMPT_FILE_BYTES = 256 * 2**20
MAX_PROMPTS = 200_000


class LayoutError(ValueError):
    """A prompt file or a folder that cannot be used; its message is one line for the user."""


@dataclass(frozen=True)
class Task:
    """One prompt and what is drawn of it.

    Attributes:
        prompt: What to draw.
        images: Files to write, relative to the folder, with forward slashes.
        tiles: Images in each file: 1, or 4 in two rows of two.
        texts: Other files to write beside them, by path.
    """

    prompt: str
    images: tuple[str, ...]
    tiles: int = 1
    texts: dict[str, str] = field(default_factory=dict)


def _read(path: Path) -> str:
    if not path.is_file():
        raise LayoutError(f"{path}: expected a file of prompts, found none; give the path of one")
    if path.stat().st_size > MAX_PROMPT_FILE_BYTES:
        raise LayoutError(f"{path}: expected at most {MAX_PROMPT_FILE_BYTES} bytes, got {path.stat().st_size}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"{path}: expected text in UTF-8, got: {type(error).__name__}") from None


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise LayoutError(f"{where}: expected JSON, got {text[:40]!r}") from None


def _plain(path: Path, samples: int) -> Iterable[Task]:
    """One prompt a line; images 00000.png, or 00000-0.png and so on where there are several of each."""
    prompts = [line.strip() for line in _read(path).splitlines() if line.strip()]
    for index, prompt in enumerate(prompts):
        names = [f"{index:05d}.png"] if samples == 1 else [f"{index:05d}-{number}.png" for number in range(samples)]
        yield Task(prompt, tuple(names))


def _geneval(path: Path, samples: int) -> Iterable[Task]:
    """evaluation_metadata.jsonl; 00000/metadata.jsonl and 00000/samples/0000.png and so on."""
    lines = [line for line in _read(path).splitlines() if line.strip()]
    for index, line in enumerate(lines):
        entry = _json(line, f"{path}: line {index + 1}")
        if not isinstance(entry, dict) or not isinstance(entry.get("prompt"), str):
            raise LayoutError(f"{path}: line {index + 1}: expected an object with a prompt")
        images = tuple(f"{index:05d}/samples/{number:04d}.png" for number in range(samples))
        yield Task(entry["prompt"], images, texts={f"{index:05d}/metadata.jsonl": line + "\n"})


def _dpg(path: Path, samples: int) -> Iterable[Task]:
    """A folder of .txt files, one prompt each; one image of 2 x 2 tiles a prompt, called as its file is."""
    if not path.is_dir():
        raise LayoutError(f"{path}: expected DPG-Bench's folder of prompts, one .txt file each, found none")
    if samples != 4:
        raise LayoutError(f"samples: expected 4 in this layout, a grid of two rows of two, got {samples}")
    for file in sorted(path.glob("*.txt")):
        yield Task(" ".join(_read(file).split()), (f"{file.stem}.png",), tiles=4)


def _coco(path: Path, samples: int) -> Iterable[Task]:
    """captions_val2017.json; the first caption of each image, drawn as 000000000139.png and so on."""
    content = _json(_read(path), str(path))
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(annotations, list):
        raise LayoutError(f"{path}: expected annotations, as captions_val2017.json has them")
    if samples != 1:
        raise LayoutError(f"samples: expected 1 in this layout, got {samples}")
    captions: dict[int, tuple[int, str]] = {}
    for entry in annotations:
        image, number, caption = (
            (entry.get(name) for name in ("image_id", "id", "caption")) if isinstance(entry, dict) else (None,) * 3
        )
        if not isinstance(image, int) or not isinstance(number, int) or not isinstance(caption, str) or image < 0:
            raise LayoutError(f"{path}: expected annotations with image_id, id and caption, got {str(entry)[:60]!r}")
        if image not in captions or number < captions[image][0]:
            captions[image] = (number, " ".join(caption.split()))
    for image, (_, caption) in sorted(captions.items()):
        yield Task(caption, (f"{image:012d}.png",))


LAYOUTS: dict[str, Callable[[Path, int], Iterable[Task]]] = {
    "plain": _plain,
    "geneval": _geneval,
    "dpg": _dpg,
    "coco": _coco,
}
USUAL_SAMPLES = {"plain": 1, "geneval": 4, "dpg": 4, "coco": 1}


def read_tasks(layout: str, prompts: Path | str, samples: int | None = None) -> list[Task]:
    """Return what a prompt file asks for in a layout, in its order.

    Args:
        layout: One of LAYOUTS.
        prompts: The file, or the folder, that the scorer's authors publish.
        samples: Images a prompt; None is what the scorer expects.

    Raises:
        LayoutError: the file cannot be used, or the layout has another number of samples.
    """
    prompts = expanded(prompts)
    count = USUAL_SAMPLES[layout] if samples is None else samples
    if not 1 <= count <= 1000:
        raise LayoutError(f"samples: expected a number in 1..1000, got {count}")
    tasks = list(LAYOUTS[layout](prompts, count))
    if not 1 <= len(tasks) <= MAX_PROMPTS:
        raise LayoutError(f"{prompts}: expected 1 to {MAX_PROMPTS} prompts, got {len(tasks)}")
    return tasks

"""Layouts: which prompts a prompt file holds, and which image files each scorer expects for them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.files.text_files import TextFileError, lines_of, read_text, strict_json
from mulo_sd.engines.numbers import SettingsError, whole_number
from mulo_sd.engines.text import PromptError, check_text

MAX_PROMPT_FILE_BYTES = 256 * 2**20
MAX_PROMPTS = 200_000
MAX_SAMPLES = 1000  # images of one prompt
MAX_LISTED = 10
BLANKS = " \t\r\f\v"  # a line of these alone separates prompts; a line of other invisible characters is an empty prompt


class LayoutError(ValueError):
    """A prompt file or a folder that cannot be used; its message is one line for the user."""


class PromptsError(LayoutError):
    """Prompts that cannot be drawn; the message is one line for the user, and `faults` has a line for each prompt."""

    def __init__(self, faults: Sequence[str]) -> None:
        """Make the message from the first fault.

        Args:
            faults: One or more, each with its file and line.
        """
        self.faults = tuple(faults)
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{more}")

    def lines(self) -> Iterator[str]:
        """Return the lines to show: the first faults, and how many more there are."""
        yield from self.faults[:MAX_LISTED]
        if len(self.faults) > MAX_LISTED:
            yield f"and {len(self.faults) - MAX_LISTED} more; {len(self.faults)} prompts cannot be drawn"


@dataclass(frozen=True)
class Task:
    """One prompt, and the files that are drawn from it.

    Attributes:
        prompt: The text to draw.
        images: Image files to write, relative to the folder, with forward slashes.
        tiles: Images in each file: 1, or 4 in two rows of two.
        texts: Text files to write beside them, content by path.
        where: The prompt's file and line, for messages.
    """

    prompt: str
    images: tuple[str, ...]
    tiles: int = 1
    texts: dict[str, str] = field(default_factory=dict)
    where: str = "prompt"


def _read(path: Path) -> str:
    try:
        return read_text(path, MAX_PROMPT_FILE_BYTES, "prompts")
    except TextFileError as error:
        raise LayoutError(str(error)) from None


def _json(text: str, where: str) -> Any:
    try:
        return strict_json(text)
    except ValueError as error:
        reason = str(error) if str(error).startswith("it ") else repr(text[:40])
        raise LayoutError(f"{where}: expected JSON, got: {reason}") from None


def _numbered(path: Path) -> Iterator[tuple[str, str]]:
    """Return every line of a file that is not blank, after the file's name and the line's number."""
    for number, line in enumerate(lines_of(_read(path)), start=1):
        if line.strip(BLANKS):
            yield f"{path}: line {number}", line


def _plain(path: Path, samples: int) -> Iterable[Task | LayoutError]:
    """One prompt a line; images 00000.png, or 00000-0.png and so on where there are several of each."""
    for index, (where, line) in enumerate(_numbered(path)):
        names = [f"{index:05d}.png"] if samples == 1 else [f"{index:05d}-{number}.png" for number in range(samples)]
        if "\r" in line.strip(BLANKS):
            yield LayoutError(f"{where}: expected line ends of LF or CRLF, got CR alone; save the file with LF")
        else:
            yield Task(line.strip(), tuple(names), where=where)


def _geneval(path: Path, samples: int) -> Iterable[Task | LayoutError]:
    """evaluation_metadata.jsonl; 00000/metadata.jsonl and 00000/samples/0000.png and so on."""
    for index, (where, line) in enumerate(_numbered(path)):
        try:
            entry = _json(line, where)
        except LayoutError as error:
            yield error
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("prompt"), str):
            yield LayoutError(f"{where}: expected a JSON object with a prompt, got {line[:40]!r}")
            continue
        images = tuple(f"{index:05d}/samples/{number:04d}.png" for number in range(samples))
        yield Task(entry["prompt"], images, texts={f"{index:05d}/metadata.jsonl": line + "\n"}, where=where)


def _dpg(path: Path, samples: int) -> Iterable[Task | LayoutError]:
    """A folder of .txt files (.TXT too), one prompt each; one image of 2 x 2 tiles a prompt, named after its file."""
    try:
        is_folder = path.is_dir()
        files = sorted(path.iterdir()) if is_folder else []
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise LayoutError(f"{path}: cannot read it: {error.strerror or error}") from None
    if not is_folder:
        raise LayoutError(f"{path}: expected DPG-Bench's folder of prompts, one .txt file each, found none")
    if samples != 4:
        raise LayoutError(f"samples: expected 4 in this layout, a grid of two rows of two, got {samples}")
    stem_to_name: dict[str, str] = {}
    for file in files:
        # Hidden ones, such as ._NAME.txt, are what macOS leaves beside NAME.txt.
        if file.suffix.lower() != ".txt" or file.name.startswith("."):
            continue
        earlier = stem_to_name.setdefault(file.stem, file.name)
        if earlier != file.name:
            yield LayoutError(f"{file}: expected one prompt file for {file.stem}.png, got {earlier} too; rename one")
            continue
        try:
            yield Task(" ".join(_read(file).split()), (f"{file.stem}.png",), tiles=4, where=str(file))
        except LayoutError as error:
            yield error


def _coco(path: Path, samples: int) -> Iterable[Task | LayoutError]:
    """captions_val2017.json; the first caption of each image, drawn as 000000000139.png and so on."""
    content = _json(_read(path), str(path))
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(annotations, list):
        raise LayoutError(f"{path}: expected annotations, as captions_val2017.json has them, got other JSON")
    if samples != 1:
        raise LayoutError(f"samples: expected 1 in this layout, got {samples}")
    captions: dict[int, tuple[int, str]] = {}
    for entry in annotations:
        image, number, caption = (
            (entry.get(name) for name in ("image_id", "id", "caption")) if isinstance(entry, dict) else (None,) * 3
        )
        # Not isinstance: JSON's true is an int of Python's.
        if type(image) is not int or type(number) is not int or not isinstance(caption, str) or image < 0:
            yield LayoutError(f"{path}: expected annotations with image_id, id and caption, got {str(entry)[:60]!r}")
        elif image not in captions or number < captions[image][0]:
            captions[image] = (number, " ".join(caption.split()))
    for image, (number, caption) in sorted(captions.items()):
        yield Task(caption, (f"{image:012d}.png",), where=f"{path}: annotation {number} of image {image}")


LAYOUTS: dict[str, Callable[[Path, int], Iterable[Task | LayoutError]]] = {
    "plain": _plain,
    "geneval": _geneval,
    "dpg": _dpg,
    "coco": _coco,
}
USUAL_SAMPLES = {"plain": 1, "geneval": 4, "dpg": 4, "coco": 1}


def read_tasks(layout: str, prompts: Path | str, samples: int | None = None) -> list[Task]:
    """Return the tasks of a prompt file, in the file's order.

    Args:
        layout: One of LAYOUTS.
        prompts: The file, or the folder, that the scorer's authors publish.
        samples: Images a prompt; None is what the scorer expects.

    Raises:
        PromptsError: prompts that nobody could draw, listed in the file's order: empty ones, and entries without one.
        LayoutError: the file cannot be used, or the layout has another number of samples.
    """
    prompts = expanded(prompts)
    try:
        count = USUAL_SAMPLES[layout] if samples is None else whole_number("samples", samples, 1, MAX_SAMPLES)
    except SettingsError as error:
        raise LayoutError(str(error)) from None
    entries = list(LAYOUTS[layout](prompts, count))
    # One after the other, so that the faults come in the order of the file's lines.
    faults = [
        fault
        for entry in entries
        for fault in ([str(entry)] if isinstance(entry, LayoutError) else faults_of_prompts([entry], _check_prompt))
    ]
    if faults:
        raise PromptsError(faults)
    tasks = [entry for entry in entries if isinstance(entry, Task)]
    if not 1 <= len(tasks) <= MAX_PROMPTS:
        raise LayoutError(f"{prompts}: expected 1 to {MAX_PROMPTS} prompts, got {len(tasks)}")
    return tasks


def _check_prompt(prompt: str) -> None:
    check_text(prompt, name="")  # `faults_of_prompts` names the file and the line


def faults_of_prompts(tasks: Iterable[Task], check: Callable[[str], object]) -> list[str]:
    """Return one line for every task whose prompt cannot be drawn, with the prompt's file and line.

    Args:
        tasks: The tasks, in the order of their prompts.
        check: Called with each prompt; raises PromptError where it cannot be drawn.
    """
    faults = []
    for task in tasks:
        try:
            check(task.prompt)
        except PromptError as error:
            faults.append(f"{task.where}: {str(error).removeprefix(': ')}")
    return faults

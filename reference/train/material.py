"""What a training learns from: a world that the command knows, or a user's folder of pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.reference.train.checkpoints import Job
from mulo_sd.reference.train.examples import Examples
from mulo_sd.reference.train.folder.open_folder import open_folder
from mulo_sd.reference.train.folder.options import FolderOptions
from mulo_sd.reference.train.worlds import World, WorldName, world_named


@dataclass(frozen=True)
class Material:
    """Examples and what is told of them.

    Attributes:
        name: Of the bundle.
        examples: To learn from and to judge by.
        identity: What the examples are, by name: a run that began with others does not go on.
        data: For people.
        counts: Of pictures, for the card.
        pictures: How many there are to learn from; None where they never end.
        captions: Turns captions into conditions; None where conditions are something else.
        world: Where the examples are a world's.
    """

    name: str
    examples: Examples
    identity: Job
    data: str
    counts: tuple[str, ...] = ()
    pictures: int | None = None
    captions: CaptionIds | None = None
    world: World | None = None


def material_of_world(name: WorldName) -> Material:
    """Return the endless examples of a world.

    Raises:
        ModuleNotFoundError: it is of a distribution that is not installed.
    """
    world = world_named(name)
    captions = getattr(world.examples, "captions", None)
    return Material(name, world.examples, {"world": name}, world.data, captions=captions, world=world)


def material_of_folder(
    options: FolderOptions, out: Path, name: str, say: Callable[[str], None], begun_with: str | None = None
) -> Material:
    """Return the examples of a user's folder, which are read first where they were not.

    Args:
        options: The folder.
        out: Of the training; what is read is kept there.
        name: Of the bundle.
        say: Shows a line.
        begun_with: Hash of the pictures that a training in `out` was begun with; those that are there stay.

    Raises:
        FolderError: the folder cannot be used.
    """
    examples = open_folder(options, out, say, begun_with=begun_with)
    report = examples.report
    changed = f", {' and '.join(options.augment)} augmented" if options.augment else ""
    return Material(
        name,
        examples,
        examples.identity,
        f"{report.training} pictures of the folder {options.images.name}{changed}; {report.held_out} more held out",
        tuple(report.lines()),
        report.training,
        examples.captions,
    )

"""All that the jobs of a training share."""

from dataclasses import dataclass, field

import torch

from mulo_sd.reference.train.checkpoints import Job
from mulo_sd.reference.train.devices import CPU
from mulo_sd.reference.train.examples import Example
from mulo_sd.reference.train.material import Material
from mulo_sd.reference.train.place import Place
from mulo_sd.reference.train.recipe import EXTRAS, SAMPLERS, TOKENIZER, Recipe, kind_of
from mulo_sd.reference.train.run import Run
from mulo_sd.reference.train.starts import Starts, file_hash
from mulo_sd.reference.train.workers import Workers


@dataclass(frozen=True)
class Machine:
    """Where and how a training computes; none of it changes what comes of it, but for rounding.

    Attributes:
        device: Where to compute.
        workers: Processes that share every batch of a transformer.
        threads: Of each process.
        compiled: Compile transformers first.
    """

    device: torch.device = CPU
    workers: int = 1
    threads: int = 2
    compiled: bool = False


@dataclass(frozen=True)
class Training:
    """What is trained, from what, and where.

    Attributes:
        material: What is learned from.
        recipe: What is made.
        place: Where it goes.
        starts: What it builds on.
        machine: Where to compute.
        seed: Of weights and examples.
        score_per_task: Held-out prompts a task in the scores of a world's models.
    """

    material: Material
    recipe: Recipe
    place: Place
    starts: Starts
    machine: Machine = field(default_factory=Machine)
    seed: int = 0
    score_per_task: int = 40

    def shown(self, index: int) -> Example:
        """Return an example that shows what a model does: held out, or a learned one where it learns by heart."""
        examples = self.material.examples
        return examples.training(index) if self.recipe.learns_by_heart else examples.held_out(index)

    def shares_batches(self, name: str) -> bool:
        """Whether workers share a model's batches: those of transformers."""
        return name in self.recipe.sizes.grids

    def job(self, name: str) -> Job:
        """Return what a run trains: a checkpoint made with anything else is not resumed."""
        kind = kind_of(name)
        described = {**chosen_job(self.recipe, self.seed, name), **self.material.identity}
        if kind != TOKENIZER:
            described["tokenizer"] = file_hash(self.starts.tokenizer)
        if kind in EXTRAS:
            described["target"] = file_hash(self.starts.target)
        if self.shares_batches(name):
            warm_start = self.starts.warm_start.get(name)
            described["warm_start"] = file_hash(warm_start) if warm_start else None
        return described

    def run(self, name: str, workers: Workers) -> Run:
        """Return a model's run, which resumes in its folder."""
        return Run(
            self.place.run(name),
            self.recipe.steps_of(name),
            job=self.job(name),
            workers=workers,
            patience=self.recipe.ends_after if self.shares_batches(name) else 0,
            keep_best=not self.recipe.learns_by_heart,
            decay_share=self.recipe.decay,
        )


def chosen_job(recipe: Recipe, seed: int, name: str) -> dict[str, str | int | float | None]:
    """Return what options alone say of a run: the part of its job that is known before a picture or file is read."""
    sizes, kind = recipe.sizes, kind_of(name)
    described: dict[str, str | int | float | None] = {
        "model": name,
        "seed": seed,
        "pixels": sizes.pixels,
        "factor": sizes.factor,
        "drafters": sizes.drafters,
    }
    if kind == TOKENIZER:
        return described | {"codes": sizes.codes, "width": sizes.width}
    described["batch"] = recipe.batch_of(name)
    if kind in SAMPLERS:
        return described | {"loss": recipe.sampler_loss, "rows_above": recipe.rows_above}
    described["rate"] = recipe.matrix_rate_of(name)
    if kind in EXTRAS:
        return described
    return described | {
        "layers": sizes.layers,
        "heads": sizes.heads,
        "dim": sizes.dim,
        "keep": recipe.keep,
        "patience": recipe.patience,
        "focus_weight": recipe.focus_weight,
        "rescaled_share": recipe.rescaled_share,
        "windows": recipe.windows,
        "decay": recipe.decay,
    }

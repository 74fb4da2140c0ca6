"""What a worker draws: the bundle's images of the world's held-out prompts, in batches as well as alone."""

from pathlib import Path

import pytest

from mulo_sd.conformance.study.draw import Job, Worker, check_weights
from mulo_sd.conformance.study.rows import StudyError
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.study.variants import AR, ONE_BY_ONE, OTHER_SEEDS
from mulo_sd.conformance.worlds.demo import DemoWorld
from mulo_sd.reference import minimal
from mulo_sd.reference.models import Models

SCENES = ((0, 0), (3, 1), (5, 7))


class MinimalWorld(DemoWorld):
    """The demo's prompts, drawn by random models of 64 cells."""

    def models(self) -> Models:
        return minimal.load()


@pytest.fixture(scope="module")
def worker(minimal_bundle: Path) -> Worker:
    return Worker(minimal_bundle, MinimalWorld())


@pytest.mark.parametrize("guidance_scale", [1.0, 1.2])
@pytest.mark.parametrize("other_seeds", [False, True])
def test_a_batch_holds_the_images_that_are_drawn_alone(
    worker: Worker, guidance_scale: float, other_seeds: bool
) -> None:
    settings = {**ONE_BY_ONE, "guidance_scale": guidance_scale}
    item = Variant(OTHER_SEEDS if other_seeds else AR, "controls", settings, other_seeds=other_seeds)
    together = worker.draw(Job(item, SCENES, batched=True))
    alone = [row for where in SCENES for row in worker.draw(Job(item, (where,)))]
    assert [row.tokens for row in together] == [row.tokens for row in alone]
    assert [row.holds for row in together] == [row.holds for row in alone]
    assert [row.scene for row in together] == list(SCENES)
    assert [row.seed for row in together] == [row.seed for row in alone]
    assert [row.task for row in alone] == ["single_object", "colors", "color_attr"]
    assert [(row.seconds is None, row.batched) for row in (together[0], alone[0])] == [(True, True), (False, False)]


def test_the_oracle_replaces_the_draft(worker: Worker) -> None:
    """Everything accepted, an image is its draft: the real scene's tokens at the coarsest grid, up-sampled."""
    own, oracle = (
        worker.draw(Job(Variant("x", "controls", {"mode": "parallel", "tau": 0.0}, oracle), (SCENES[0],)))[0]
        for oracle in (False, True)
    )
    assert own.identity != oracle.identity
    assert own.tokens != oracle.tokens
    assert (own.nfe_target, own.seed) == (oracle.nfe_target, oracle.seed)
    assert own.nfe_drafter > oracle.nfe_drafter


def test_a_bundle_of_other_weights_is_refused(worker: Worker) -> None:
    check_weights(worker.pipeline, worker.world)
    with pytest.raises(StudyError, match=r"expected a bundle of the shipped weights.*mulo-sd build --models demo"):
        check_weights(worker.pipeline, DemoWorld())

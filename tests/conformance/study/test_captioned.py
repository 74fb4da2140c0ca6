"""The study over a bundle of captions: small random models draw the pictograms' prompts, and are judged by their world.

What they draw shows no pictogram; what is checked is how rows come about.
"""

import pytest

from mulo_sd import engines
from mulo_sd.conformance.study.draw import Job, Worker, check_weights
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.study.variants import AR, ONE_BY_ONE
from mulo_sd.conformance.worlds.choice import sure_world_of
from mulo_sd.conformance.worlds.pictograms import PictogramsWorld
from mulo_sd.reference.pictograms.examples import PictogramExamples
from mulo_sd.reference.trained import load_trained
from tests.captioned_bundle import CaptionedBundle

SCENES = ((0, 0), (2, 1), (4, 7))


@pytest.fixture(scope="module")
def worker(captioned_bundle: CaptionedBundle) -> Worker:
    """A worker over their bundle."""
    return Worker(captioned_bundle.bundle, PictogramsWorld(lambda: load_trained(captioned_bundle.models)))


def test_the_bundle_says_that_it_draws_pictograms(worker: Worker) -> None:
    assert isinstance(sure_world_of(worker.pipeline.bundle), PictogramsWorld)
    check_weights(worker.pipeline, worker.world)


@pytest.mark.parametrize("guidance_scale", [1.0, 1.5])
def test_a_batch_holds_the_images_that_are_drawn_alone(worker: Worker, guidance_scale: float) -> None:
    item = Variant(AR, "controls", {**ONE_BY_ONE, "guidance_scale": guidance_scale})
    together = worker.draw(Job(item, SCENES, batched=True))
    alone = [row for where in SCENES for row in worker.draw(Job(item, (where,)))]
    assert [row.tokens for row in together] == [row.tokens for row in alone]
    assert [(row.task, row.seed) for row in together] == [("single_object", 0), ("counting", 2001), ("position", 4007)]
    assert not any(row.holds for row in together)


def test_prompts_are_the_captions_and_the_draft_is_the_real_scenes(worker: Worker) -> None:
    """A row is what the pipeline draws of the caption; with everything accepted the oracle's draft decides it."""
    item = Variant("x", "controls", {"tau": 0.0})
    (row,) = worker.draw(Job(item, ((3, 2),)))
    drawn = worker.world.held_out_prompt(3, 2)
    expected = worker.pipeline.generate(drawn.text, seed=3002, tau=0.0)
    assert row.grid().tolist() == expected.tokens.tolist()
    (oracle,) = worker.draw(Job(Variant("x", "controls", {"tau": 0.0}, oracle=True), ((3, 2),)))
    (other,) = worker.draw(Job(Variant("x", "controls", {"tau": 0.0}, oracle=True), ((3, 3),)))
    assert len({row.tokens, oracle.tokens, other.tokens}) == 3


def test_a_scene_prompts_the_front_end_as_in_training(worker: Worker) -> None:
    """The ids of a held-out caption are those that training makes of it."""
    examples, drawn = PictogramExamples(), worker.world.held_out_prompt(4, 5)
    condition = worker.pipeline.describe(drawn.text, drawn.seed, drawn.plan).condition
    assert isinstance(condition, engines.Condition)
    assert condition.cond.tolist() == examples.captions.condition(drawn.text).tolist()

"""Which law of a decode speaks for which rules, and at which stage of a decode it looks; earlier stages come first."""

from collections.abc import Callable
from typing import NamedTuple

from mulo_sd.conformance.engines import drafter_laws, engine_laws, reference_laws
from mulo_sd.conformance.engines.engine_case import EngineCase, run
from mulo_sd.conformance.rules import cycle_laws, decode_laws, opening_laws, speculation_laws, sweep_laws, tree_laws
from mulo_sd.conformance.rules.branches import EXAMPLE, reach
from mulo_sd.conformance.strategies.decodes import ALL_MODES, DRAFTED_MODES, JUDGING_MODES, LOCAL_MODES, TREE_MODES
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.settings import Mode


class EngineLaw(NamedTuple):
    """A law that engines are held to.

    Attributes:
        stage: What of a decode it looks at.
        rules: Those that it speaks for.
        law: Raises AssertionError where a decode breaks them.
        modes: In which it says something.
        branches: What its examples together must have met.
        share: One of how many of the profile's examples it judges; more than 2 where judging costs much.
    """

    stage: str
    rules: tuple[str, ...]
    law: Callable[[EngineCase, Decoded], None]
    modes: tuple[Mode, ...] = ALL_MODES
    branches: tuple[str, ...] = ()
    share: int = 2  # a half for each of the two precisions


LAWS = (
    EngineLaw("condition", ("PREFILL", "GRID-2"), decode_laws.prefill_comes_first),
    EngineLaw(
        "logits",
        ("KV-1", "KV-2", "GRID-2", "METHOD-5", "METHOD-6", "MODE-UNMASKED", "CONF-1"),
        decode_laws.logits_follow_from_passes,
        share=8,
    ),
    EngineLaw(
        "KV state",
        ("KV-1", "KV-3", "GRID-2", "SCHED-3"),
        decode_laws.nothing_seen_is_gone,
        branches=("a pass replaces the token of a position", "a pass feeds a stand-in"),
    ),
    EngineLaw(
        "KV state",
        ("KV-3", "KV-4", "SCHED-1", "SCHED-4", "SWEEP-3"),
        decode_laws.passes_feed_exactly,
        branches=(
            "a pass feeds a decided token that is nobody's predecessor",
            "a verification feeds a window again",
        ),
    ),
    EngineLaw(
        "sampled tokens",
        ("DIST-1", "RNG-1", "RNG-2", "ANCHOR-1", "CONF-2"),
        decode_laws.samples_follow_from_logits,
        branches=("the anchor changes a token", "the drafter draws the same noise again"),
    ),
    EngineLaw("sampled tokens", ("DIST-1",), engine_laws.sums_may_meet_top_p, share=8),
    EngineLaw(
        "held tokens",
        ("SCHED-5",),
        opening_laws.repredictions_follow,
        ("zipar",),
        ("an opening token is kept", "an opening token is drawn anew"),
    ),
    EngineLaw(
        "draft",
        ("DRAFT-1", "CASCADE-1"),
        cycle_laws.whole_rows_are_drafted,
        DRAFTED_MODES,
        ("rows are drafted ahead", "a draft is drafted"),
    ),
    EngineLaw(
        "up- and down-sampling",
        ("SCALE-1", "SCALE-2", "GRID-1"),
        cycle_laws.scaling_uses_known_rows,
        DRAFTED_MODES,
        ("verified rows differ from the draft",),
    ),
    EngineLaw(
        "pooled probabilities and kept mask",
        ("VERIFY-1", "POOL-1", "ACCEPT-1", "DIST-2", "CONF-2"),
        cycle_laws.verification_judges,
        LOCAL_MODES,
        ("some kept, some rejected", "what acceptance looks at is not what is sampled from"),
    ),
    EngineLaw(
        "expansion",
        ("LOCAL-3",),
        cycle_laws.radii_follow,
        LOCAL_MODES,
        ("radii differ",),
    ),
    EngineLaw(
        "expansion",
        ("LOCAL-1", "LOCAL-3"),
        cycle_laws.rejections_grow,
        LOCAL_MODES,
        ("R_X is more than the rejected cells", "R_X is not the whole rest"),
    ),
    EngineLaw(
        "islands and schedule",
        ("LOCAL-2", "SCHED-1", "SCHED-2", "SCHED-4", "MODE-SERIAL", "MODE-PARALLEL", "CASCADE-1"),
        cycle_laws.cycles_in_order,
        LOCAL_MODES,
        ("several cells in a step", "two cells or more are resampled", "a drafter resamples"),
    ),
    EngineLaw(
        "sweeps",
        ("SWEEP-1", "SWEEP-2", "SWEEP-4"),
        sweep_laws.sweeps_decide_what_is_certain,
        branches=(
            "a sweep decides some of a region's cells",
            "a wrong guess is decided as sampled",
            "a limit decides what is not certain",
            "several regions are swept at once",
        ),
    ),
    EngineLaw(
        "sweeps",
        ("SWEEP-5",),
        sweep_laws.first_guesses_follow,
        branches=("the token above is the guess", "an opening is the guess", "the grid holds the guesses"),
    ),
    EngineLaw(
        "sweeps",
        (
            *(f"SWEEP-{number}" for number in range(1, 7)),
            *(f"METHOD-{number}" for number in range(1, 7)),
            *("KV-3", "GRID-2", "MODE-EXACT", "RNG-2", "CONF-3", "CONF-4"),
        ),
        reference_laws.sweeps_are_the_references,
        branches=(
            "a guess comes true",
            "a sweep decides some of its cells",
            "a sweep decides wrong guesses behind others",
        ),
        share=8,
    ),
    EngineLaw(
        "exact verification",
        ("MODE-EXACT", "RNG-2", "CONF-2"),
        sweep_laws.exact_verdicts,
        ("exact",),
        ("a draft token is kept", "a draft token is replaced"),
    ),
    EngineLaw(
        "drafts",
        (
            *("METHOD-1", "METHOD-2", "METHOD-3", "METHOD-4", "METHOD-5", "METHOD-6", "RNG-2", "CONF-2", "SWEEP-5"),
            *(f"ACCEPT-{number}" for number in (2, 3, 4, 7, 8)),
            *("MODE-SJD", "MODE-GSD", "MODE-COOLSD", "MODE-SPECDEC", "MODE-PJD", "MODE-EAGLE", "MODE-SSD"),
        ),
        speculation_laws.drafts_are_judged,
        JUDGING_MODES,
        (
            "a draft is kept by chance",
            "a draft is rejected",
            "a cell is judged again",
            "a token is drawn from a residual",
            "a later draft is a fresh sample",
            "a draft was drawn from the last pass",
            "a draft stays for the next pass",
            "rows are open side by side",
        ),
    ),
    EngineLaw(
        "drafts",
        ("METHOD-6", "ACCEPT-2", "ACCEPT-5", "ACCEPT-6", "MODE-EAGLE", "MODE-LANTERN", "CONF-2"),
        tree_laws.trees_are_walked,
        TREE_MODES,
        ("a later sibling stays", "no sibling stays", "several cells are decided by a tree"),
    ),
    EngineLaw(
        "drafts",
        ("METHOD-6", "MODE-EAGLE", "MODE-LANTERN", "RNG-2"),
        tree_laws.trees_are_grown,
        TREE_MODES,
        ("a tree is cut", "a tree has several layers", "siblings are drawn"),
        share=8,
    ),
    EngineLaw(
        "drafts",
        ("METHOD-6", "MODE-EAGLE", "MODE-SPECDEC", "MODE-COOLSD", "MODE-LANTERN"),
        drafter_laws.drafters_logits_are_the_references,
        ("eagle", "cool-sd", "specdec", *TREE_MODES),
        ("a drafter's pass is compared",),
        share=8,
    ),
    EngineLaw(
        "passes",
        ("PREFILL", "MODE-AR", "MODE-ZIPAR", "MODE-SERIAL", "MODE-PARALLEL", "METHOD-2", "METHOD-4", "CONF-4"),
        decode_laws.passes_are_counted,
        branches=("a cycle without rejection", "a cycle with rejection"),
    ),
    EngineLaw("token grid", ("GRID-1", "MODE-AR", "MODE-ZIPAR"), engine_laws.tokens_are_what_was_decided),
    EngineLaw(
        "token grid",
        ("MODE-SERIAL", "MODE-PARALLEL", "ACCEPT-1"),
        engine_laws.rejecting_everything_is_autoregressive,
        LOCAL_MODES,
        ("the images are the same",),
    ),
    EngineLaw("image", ("CONF-2",), engine_laws.images_are_the_references),
    EngineLaw("runs", ("CONF-5", "RNG-1"), engine_laws.runs_repeat, branches=("another seed gives another image",)),
)


def judge(law: EngineLaw, case: EngineCase) -> None:
    """Hold a decode against a law; a failure says which, at which stage, and in which decode."""
    try:
        law.law(case, run(case))
    except AssertionError as error:
        error.add_note(f"{', '.join(law.rules)} at the stage {law.stage!r}, in {case!r}")
        raise
    reach(EXAMPLE)

"""The planner: makes a scene plan from a prompt and a seed."""

import numpy as np

from mulo_sd.engines.prompts.grammar import Prompt
from mulo_sd.engines.prompts.plan import Plan, PlannedObject, relation_holds
from mulo_sd.engines.prompts.vocabulary import COLOURS, POSITION_BINS, RADII, centre_from_bin

# Clear space between two objects and to the image's border, as fractions of the image's side.
GAP = 0.05
BORDER = 0.02
# How far apart the centres of related objects must be along the axis of their relation.
RELATION_MARGIN = 0.25
# The smallest and largest size bin (inclusive) for scenes of 1, 2, 3 and 4 objects. An edited plan may go beyond:
# the demo's small models were trained longest on these.
SIZE_RANGES = {1: (1, 3), 2: (1, 3), 3: (1, 2), 4: (0, 2)}


def _bins_inside(radius: float) -> list[int]:
    return [
        position
        for position in range(POSITION_BINS)
        if radius + BORDER <= centre_from_bin(position) <= 1 - radius - BORDER
    ]


def _fits(new: PlannedObject, placed: list[PlannedObject]) -> bool:
    x, y = new.centre
    return all(
        max(abs(x - item.centre[0]), abs(y - item.centre[1])) >= new.radius + item.radius + GAP
        or np.hypot(x - item.centre[0], y - item.centre[1]) >= (new.radius + item.radius) * 1.1 + GAP
        for item in placed
    )


def _attempt(prompt: Prompt, rng: np.random.Generator) -> list[PlannedObject] | None:
    low, high = SIZE_RANGES[len(prompt.objects)]
    placed: list[PlannedObject] = []
    shared_colour = COLOURS[int(rng.integers(len(COLOURS)))]
    for prompted in prompt.objects:
        random_colour = COLOURS[int(rng.integers(len(COLOURS)))]
        colour = prompted.colour or (shared_colour if prompt.is_counted else random_colour)
        size = int(rng.integers(low, high + 1))
        bins = _bins_inside(RADII[size])
        new = PlannedObject(
            shape=prompted.shape, colour=colour, x=int(rng.choice(bins)), y=int(rng.choice(bins)), size=size
        )
        if not _fits(new, placed):
            return None
        placed.append(new)
    if prompt.relation is not None and not relation_holds(
        prompt.relation, placed[0].centre, placed[1].centre, RELATION_MARGIN
    ):
        return None
    return placed


def make_plan(prompt: Prompt, seed: int) -> Plan:
    """Place the objects of `prompt`; the same prompt and seed give the same plan.

    Objects keep clear of each other and of the border; a colour that the prompt leaves open is drawn
    (one for all, where equal objects are counted).
    """
    rng = np.random.default_rng([seed, 0x504C414E])  # "PLAN": no other use of the seed has this stream
    while True:
        placed = _attempt(prompt, rng)
        if placed is not None:
            return Plan(objects=tuple(placed))

"""The storyboard: a decode step by step, from the coarsest draft over verification and islands to the result."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mulo_sd.engines.commands.overlay import EXPANDED_RGB, KEPT_RGB, REJECTED_RGB
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.rules.trace import Cycle, Pass, Trace

PANEL_PIXELS = 256
CAPTION_HEIGHT = 34
GAP = 8
# From the first step of resampling to the last.
FIRST_STEP_RGB, LAST_STEP_RGB = np.array([255, 230, 120]), np.array([90, 20, 120])
PLAIN_RGB = (226, 226, 226)
# Of a grid's sweeps, after which it is shown.
SHOWN_SHARES = (0.0, 0.1, 0.3, 0.6)

Decode = Callable[[Tokens], Image.Image]


class Panel(NamedTuple):
    """One picture of the storyboard and the two lines below it."""

    image: Image.Image
    title: str
    detail: str


def steps_of_cells(trace: Trace, model: int, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return in which step of resampling each cell was decided, from 1 on; 0 where it was not, Int[H, W]."""
    numbers = [number for number, item in enumerate(trace.passes) if item.model == model]
    steps = np.zeros(shape, dtype=np.int64)
    for cycle in trace.cycles_of(model):
        resampled = set((np.flatnonzero(cycle.resampled) + cycle.first_row * shape[1]).tolist())
        step = 0
        for number in numbers[numbers.index(cycle.verify_pass) :]:
            # The first step takes the verification's own distributions (SCHED-4), cell 0's from the prefill.
            sources = (numbers[0], number) if number == cycle.verify_pass else (number,)
            decided = [cell for source in sources for cell in _decided(trace.passes[source])]
            cells = [cell for cell in decided if cell in resampled]
            if cells:
                step += 1
                steps.flat[cells] = step
                resampled.difference_update(cells)
    return steps


def _decided(item: Pass) -> list[int]:
    """Return the cells that a pass decided: of those that sweeps and methods scored not all."""
    partly = [*item.sweeps, *item.speculated]
    decided = [cell for scored in partly for cell in scored.cells[scored.decided].tolist()]
    decided += [cell for tree in item.trees for cell in range(tree.cell, tree.cell + len(tree.decided))]
    return decided if partly or item.trees else [cell for _, cell, _ in item.sampled]


def passes_of_cells(trace: Trace, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return which pass of the target decided each cell, from 1 on; 0 where none did, Int[H, W]."""
    numbers = np.zeros(shape, dtype=np.int64)
    for number, item in enumerate((item for item in trace.passes if item.model == 0), start=1):
        numbers.flat[_decided(item)] = number
    return numbers


def sweeps_of_cells(trace: Trace, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return which sweep of the target decided each cell, from 1 on; 0 where none did, Int[H, W]."""
    numbers = np.zeros(shape, dtype=np.int64)
    for number, sweep in enumerate(trace.sweeps_of(0), start=1):
        numbers.flat[sweep.cells[sweep.decided]] = number
    return numbers


def _sweep_panels(trace: Trace, shape: tuple[int, int], decode: Decode) -> list[Panel]:
    """Return what stood in the grid after some sweeps, guesses included, and which sweep decided each cell."""
    sweeps, panels, grid = trace.sweeps_of(0), [], np.full(shape, -1, dtype=np.int64)
    shown = {max(1, round(share * len(sweeps))) for share in SHOWN_SHARES}
    decided = 0
    for number, sweep in enumerate(sweeps, start=1):
        grid.flat[sweep.cells] = sweep.samples
        decided += int(sweep.decided.sum())
        if number in shown:
            pixels = np.array(_enlarged(np.asarray(decode(np.maximum(grid, 0)))))
            scale = (pixels.shape[0] // shape[0], pixels.shape[1] // shape[1])
            pixels[(grid < 0).repeat(scale[0], axis=0).repeat(scale[1], axis=1)] = PLAIN_RGB
            plural = "sweep" if number == 1 else "sweeps"
            panels.append(
                Panel(Image.fromarray(pixels), f"after {number} {plural}", f"{decided} of {grid.size} cells decided")
            )
    numbers = sweeps_of_cells(trace, shape)
    return [*panels, Panel(_step_map(numbers), "the sweep that decided a cell", f"pale first; {len(sweeps)} sweeps")]


def _enlarged(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels).resize((PANEL_PIXELS, PANEL_PIXELS), Image.Resampling.NEAREST)


def _map(shape: tuple[int, int], layers: list[tuple[NDArray[np.bool_], tuple[int, int, int]]]) -> Image.Image:
    pixels = np.full((*shape, 3), PLAIN_RGB, dtype=np.uint8)
    for mask, rgb in layers:
        pixels[mask] = rgb
    return _enlarged(pixels)


def _step_map(steps: NDArray[np.int64]) -> Image.Image:
    pixels = np.full((*steps.shape, 3), PLAIN_RGB, dtype=np.uint8)
    chosen = steps > 0
    share = (steps[chosen, None] - 1) / max(1, int(steps.max()) - 1)
    pixels[chosen] = (FIRST_STEP_RGB + share * (LAST_STEP_RGB - FIRST_STEP_RGB)).astype(np.uint8)
    return _enlarged(pixels)


def _joined(windows: Iterable[tuple[int, NDArray[Any]]]) -> NDArray[Any]:
    """Join windows, each with its first row, into a grid; of a row that was drafted twice the later one counts."""
    rows = {first + offset: row for first, window in windows for offset, row in enumerate(window)}
    return np.stack([rows[row] for row in sorted(rows)])


def _whole(cycles: list[Cycle], name: str) -> NDArray[Any]:
    """Return a field of one model's cycles, joined over all rows."""
    return _joined((cycle.first_row, getattr(cycle, name)) for cycle in cycles)


def _panels(trace: Trace, tokens: Tokens, decode: Decode) -> list[Panel]:
    panels: list[Panel] = []
    if not trace.cycles and trace.sweeps_of(0):
        panels = _sweep_panels(trace, tokens.shape, decode)
    elif not trace.cycles:
        steps = _step_map(passes_of_cells(trace, tokens.shape))
        panels = [Panel(steps, "the pass that decided a cell", f"pale first; {trace.nfe(0)} passes")]
    chain = sorted({cycle.model for cycle in trace.cycles}, reverse=True)
    for model in chain:
        cycles = trace.cycles_of(model)
        draft = _joined((cycle.draft_first_row, cycle.draft_tokens) for cycle in cycles)
        drafter = cycles[0].draft_model
        if model == chain[0]:
            size = f"{draft.shape[0]} x {draft.shape[1]} tokens"
            panels.append(Panel(decode(draft), f"draft, {size}", f"{trace.nfe(drafter)} passes of model {drafter}"))
        proposal, kept = _whole(cycles, "up_sampled"), _whole(cycles, "kept")
        resampled = _whole(cycles, "resampled")
        size = f"{proposal.shape[0]} x {proposal.shape[1]} tokens"
        panels.append(Panel(decode(proposal), f"up-sampled, {size}", "the proposal"))
        layers = [(kept, KEPT_RGB), (kept & resampled, EXPANDED_RGB), (~kept, REJECTED_RGB)]
        panels.append(
            Panel(
                _map(proposal.shape, layers),
                f"verified: {int((~kept).sum())} rejected (red)",
                f"{int((kept & resampled).sum())} beside them (orange), model {model}",
            )
        )
        steps = steps_of_cells(trace, model, proposal.shape)
        panels.append(
            Panel(_step_map(steps), f"resampled in {int(steps.max())} steps", f"pale first; {trace.nfe(model)} passes")
        )
        if model != 0:
            panels.append(Panel(decode(_whole(cycles, "tokens")), f"decided by model {model}", size))
    nfe = [trace.nfe(model) for model in sorted({item.model for item in trace.passes})]
    passes = " + ".join(map(str, nfe))
    panels.append(Panel(decode(tokens), "result", f"{passes} passes" if len(nfe) > 1 else f"{passes} passes in all"))
    return panels


def draw_storyboard(trace: Trace, tokens: Tokens, decode: Decode) -> Image.Image:
    """Draw a decode step by step: draft, proposal, what verification kept, steps of resampling, result.

    Args:
        trace: The decode's trace.
        tokens: Int[H, W], the decode's result.
        decode: Makes an image of tokens, Int[h, w], of any grid: `Pipeline.image_from_tokens`.
    """
    panels = _panels(trace, tokens, decode)
    width = len(panels) * (PANEL_PIXELS + GAP) - GAP
    picture = Image.new("RGB", (width, PANEL_PIXELS + CAPTION_HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    for index, panel in enumerate(panels):
        left = index * (PANEL_PIXELS + GAP)
        enlarged = panel.image.resize((PANEL_PIXELS, PANEL_PIXELS), Image.Resampling.NEAREST)
        picture.paste(enlarged, (left, 0))
        pen.text((left + 2, PANEL_PIXELS + 3), panel.title, fill="black")
        pen.text((left + 2, PANEL_PIXELS + 17), panel.detail, fill=(90, 90, 90))
    return picture

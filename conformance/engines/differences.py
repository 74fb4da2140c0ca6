"""CONF-3: where a free-running engine first leaves the reference, and whether a near-tie explains it.

Both traces are walked pass by pass. Up to the first decision that differs, both sides saw the same; that decision, and
whatever else was decided from the same pass, must be a near-tie. What follows is not compared.
"""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd import engines
from mulo_sd.conformance.engines import margins
from mulo_sd.conformance.engines.drafts import down_samplings, drafted_rows, resampling_cycle
from mulo_sd.conformance.engines.margins import Uncertain
from mulo_sd.conformance.engines.replay import array, reference_logits, source
from mulo_sd.engines.rules.trace import Reprediction, Trace
from mulo_sd.reference.anchor import Anchor
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.models import Models
from mulo_sd.reference.noise import acceptance_stream, gumbel_noise, sample_stream, uniform_noise
from mulo_sd.reference.radius import adaptive_radii
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Cycle

# A code of U_r or D_r that is further ahead of the second-best is not changed by rounding of float32.
CODE_MARGIN = 1e-4


class Differences:
    """Compares the trace of an engine's decode with the reference's."""

    def __init__(
        self,
        pipeline: engines.Pipeline,
        models: Models,
        settings: Settings,
        seed: int,
        trace: Trace,
        decoded: Decoded,
        decode_with_logits: Callable[[], Decoded],
    ) -> None:
        """Prepare a comparison.

        Args:
            pipeline: The engine.
            models: The reference's.
            settings: The reference's.
            seed: Of both decodes.
            trace: The engine's.
            decoded: The reference's.
            decode_with_logits: Returns the same with logits; called where something differs.
        """
        self.manifest, self.models, self.settings, self.seed = pipeline.bundle.manifest, models, settings, seed
        self.ours, self.theirs, self.decode_with_logits = trace, decoded.trace, decode_with_logits
        self.table: NDArray[np.int64] = pipeline.bundle.neighbours[:, : settings.neighbours]
        self.explained: list[str] = []

    def explain(self) -> list[str]:
        """Return the first decisions that differ, in words; none where both traces are the same.

        Raises:
            AssertionError: one was no near-tie, or something differs that is no decision; the message names the pass.
        """
        starting = {cycle.verify_pass: index for index, cycle in enumerate(self.theirs.cycles)}
        for number in range(max(len(self.theirs.passes), len(self.ours.passes))):
            index = starting.get(number)
            steps: list[Callable[[], None]] = [partial(self._compare_feeds, number)]
            if index is not None:
                steps.insert(0, partial(self._compare_proposals, index))
            if index is not None and not self._is_exact(self.theirs.cycles[index]):
                steps.append(partial(self._compare_verdicts, index))
            steps += [partial(self._compare_draws, number, index), partial(self._compare_sweeps, number)]
            for step in steps:
                step()
                if self.explained:
                    return self.explained
        for index in range(max(len(self.theirs.cycles), len(self.ours.cycles))):
            ours, theirs = self._cycles(index)
            for name in ("tokens", "kept", "radii", "resampled", "down_sampled"):
                mine, other = getattr(ours, name), getattr(theirs, name)
                same = (mine is None) == (other is None) and (mine is None or np.array_equal(mine, array(other)))
                assert same, f"cycle {index}: {name} differ, and no decision does"
        return []

    def _is_exact(self, cycle: Cycle) -> bool:
        """Whether a cycle accepts and rejects nothing: its first pass is that of a sweep (MODE-EXACT)."""
        return cycle.model == 0 and self.settings.decoding.is_exact

    @cached_property
    def _logits(self) -> list[NDArray[np.float32]]:
        return [reference_logits(made) for made in self.decode_with_logits().trace.passes]

    def _known(self, number: int, cells: list[int], raw: bool = False) -> Uncertain:
        """Return p_u of cells by the reference's logits of a pass, off by the bundle's tolerance."""
        passes = self.theirs.passes
        places = [source(passes, number, cell) for cell in cells]
        logits = np.stack([self._logits[origin][:, row] for origin, row in places], axis=1)
        tolerance = self.manifest.graphs[self.manifest.models[passes[number].model].graph].tolerance
        return margins.uncertain(logits, np.full(len(cells), tolerance), self.settings, raw)

    def _note(self, may_differ: bool, what: str) -> None:
        assert may_differ, f"{what}: no near-tie explains it"
        self.explained.append(what)

    def _cycles(self, index: int) -> tuple[Any, Cycle]:
        assert index < min(len(self.ours.cycles), len(self.theirs.cycles)), (
            f"cycle {index}: the engine made {len(self.ours.cycles)} cycles, the reference {len(self.theirs.cycles)}"
        )
        ours, theirs = self.ours.cycles[index], self.theirs.cycles[index]
        for name in ("model", "draft_model", "first_row", "last_row", "draft_first_row", "verify_pass"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert mine == other, f"cycle {index}: {name} is {mine}, the reference's {other}"
        return ours, theirs

    def _compare_proposals(self, index: int) -> None:
        """Compare what U_r made of the same draft (SCALE-1)."""
        ours, theirs = self._cycles(index)
        assert np.array_equal(ours.draft_tokens, array(theirs.draft_tokens)), f"cycle {index}: the drafts differ"
        different = np.argwhere(ours.up_sampled != array(theirs.up_sampled)).tolist()
        if not different:
            return
        low = drafted_rows(self.models, self.settings, self.theirs.cycles, index)
        ratio = self.models.scale_ratio(theirs.model, theirs.draft_model)
        choose = partial(self.models.up_sample, self.settings.up_sampler, low, ratio)
        _, ahead = margins.code_margins(self.models.tokenizer, choose)
        for row, column in different:
            margin = float(ahead[theirs.first_row + row, column])
            what = f"cycle {index}: U_r at row {theirs.first_row + row}, column {column}, decided by {margin:.3g}"
            self._note(margin <= CODE_MARGIN, what)

    def _compare_feeds(self, number: int) -> None:
        """Compare what a pass feeds: it follows from decisions before it, those of D_r among them (KV-3, SCALE-2)."""
        lengths = len(self.ours.passes), len(self.theirs.passes)
        assert number < min(lengths), f"pass {number}: the engine makes {lengths[0]} passes, the reference {lengths[1]}"
        ours, theirs = self.ours.passes[number], self.theirs.passes[number]
        assert ours.model == theirs.model, f"pass {number}: of model {ours.model}, the reference's of {theirs.model}"
        same = np.array_equal(ours.positions, array(theirs.positions))
        assert same, f"pass {number} of model {ours.model}: feeds other positions, and no decision differed"
        wrong = ours.positions[ours.tokens != array(theirs.tokens)]
        if not len(wrong):
            return
        cells = (wrong - self.manifest.models[ours.model].prefix_length).tolist()
        finished = [cycle for cycle in self.theirs.cycles if cycle.model == 0 and cycle.verify_pass < number]
        what = f"pass {number} of model {ours.model}: feeds other tokens at cells {cells}"
        assert ours.model > 0, f"{what}, and no decision differed"
        assert finished, f"{what}, and no decision differed"
        self._compare_down_sampled(finished, ours.model, cells, what)

    def _compare_down_sampled(self, finished: list[Cycle], model: int, cells: list[int], what: str) -> None:
        """Explain fed tokens by D_r's choice of a code: that of the first drafter, else that of the model itself."""
        mine, other = self.ours.cycles_of(0)[len(finished) - 1].down_sampled, finished[-1].down_sampled
        first = self.settings.drafters[0]
        if mine is not None and other is not None and not np.array_equal(mine, array(other)):
            start = finished[-1].draft_first_row * mine.shape[1]
            model, cells = first, (start + np.flatnonzero(mine != array(other))).tolist()
        for item in down_samplings(self.models, self.settings, finished):
            if item.draft_model == model:
                choose = partial(self.models.down_sample, self.settings.down_sampler, item.high_rows, item.scale_ratio)
                _, ahead = margins.code_margins(self.models.tokenizer, choose)
                for cell in cells:
                    assert cell < ahead.size, f"{what}, and no decision differed"
                    margin = float(ahead.ravel()[cell])
                    self._note(margin <= CODE_MARGIN, f"{what}: D_r at cell {cell}, decided by {margin:.3g}")

    def _compare_verdicts(self, index: int) -> None:
        """Compare acceptance and radii of a window, and what is resampled by them (ACCEPT-1, LOCAL-1, LOCAL-3)."""
        ours, theirs = self._cycles(index)
        settings, shape = self.settings, theirs.kept.shape
        cells = list(range(theirs.first_row * shape[1], theirs.last_row * shape[1]))
        where = f"pass {theirs.verify_pass}, cell"
        different = np.flatnonzero(ours.kept != array(theirs.kept)).tolist()
        if different:
            known = self._known(theirs.verify_pass, cells, settings.accept_on == "raw")
            pooled = known.pooled(self.table[array(theirs.up_sampled).ravel()])
            near_ties = margins.may_be_either(pooled, self._known(theirs.verify_pass, cells).entropies(), settings)
            for offset in different:
                what = f"{where} {cells[offset]}: acceptance, pooled {float(theirs.pooled_probs.flatten()[offset]):.6g}"
                self._note(bool(near_ties[offset]), f"{what} against tau {settings.tau}")
        different = np.flatnonzero(ours.radii != array(theirs.radii)).tolist()
        if different:
            bounds = [
                adaptive_radii(torch.from_numpy(bound.reshape(shape)), settings.radius, settings.radius_nats).flatten()
                for bound in np.maximum(self._known(theirs.verify_pass, cells).entropies(), 0)
            ]
            for offset in different:
                radius, expected = int(ours.radii.flat[offset]), int(theirs.radii.flatten()[offset])
                what = f"{where} {cells[offset]}: radius {radius}, the reference {expected}"
                self._note(int(bounds[0][offset]) <= radius <= int(bounds[1][offset]), what)
        if not self.explained:
            same = np.array_equal(ours.resampled, array(theirs.resampled))
            assert same, f"cycle {index}: other cells are resampled, and no decision differed"

    def _compare_draws(self, number: int, index: int | None) -> None:
        """Compare what was sampled from a pass."""
        model = self.theirs.passes[number].model
        ours, theirs = (self._draws(trace, number, index) for trace in (self.ours, self.theirs))
        assert ours.keys() == theirs.keys(), f"pass {number}: sampled: other cells than the reference's"
        for cell, token in ours.items():
            if token != theirs[cell]:
                noise = gumbel_noise(self.seed, sample_stream(model), [cell], self.manifest.target.vocabulary)
                noise += self._anchor_bonus(model, number, cell)
                may_differ = bool(self._known(number, [cell]).tokens(noise.numpy())[0, token])
                what = f"pass {number}, cell {cell}: sampled {token}, the reference {theirs[cell]}"
                self._note(may_differ, what)
        mine, other = (
            {item.cell: Reprediction(**vars(item)) for item in trace.passes[number].repredicted}
            for trace in (self.ours, self.theirs)
        )
        assert mine.keys() == other.keys(), f"pass {number}: repredicts other cells than the reference"
        for cell, again in mine.items():
            if again != other[cell]:
                self._compare_repredictions(number, again, other[cell])

    def _anchor_bonus(self, model: int, number: int, cell: int) -> Tensor:
        """Return what ANCHOR-1 adds to log p of a cell, Float32[1, V]."""
        cycle = resampling_cycle(self.settings, self.theirs.cycles, model, number, cell)
        if cycle is None:
            return torch.zeros(1, self.manifest.target.vocabulary)
        codes = torch.nn.functional.normalize(self.models.tokenizer.codebook, dim=-1)
        first = cycle.first_row * cycle.kept.shape[1]
        return Anchor(self.settings.anchor, codes, cycle.up_sampled.flatten(), first).bonus([cell])

    def _compare_sweeps(self, number: int) -> None:
        """Compare what sweeps made of the same samples: guesses, and what they decided (SWEEP-2)."""
        ours, theirs = self.ours.passes[number].sweeps, self.theirs.passes[number].sweeps
        assert len(ours) == len(theirs), f"pass {number}: {len(ours)} sweeps, the reference's {len(theirs)}"
        for mine, other in zip(ours, theirs, strict=True):
            for name, values in vars(mine).items():
                same = np.array_equal(values, array(getattr(other, name)))
                assert same, f"pass {number}: {name} of a sweep differ, and no decision does"

    def _draws(self, trace: Any, number: int, index: int | None) -> dict[int, int]:
        """Return the tokens drawn from a pass, by cell.

        The prefill's rows belong to cell 0, which a model that verifies draws after the verification.
        """
        made = trace.passes[number]
        entries = list(made.sampled)
        cycles = [cycle for cycle in self.theirs.cycles if cycle.model == made.model]
        prefill = next(item for item in trace.passes if item.model == made.model)
        if cycles and made is prefill:
            entries = []
        elif index is not None and self.theirs.cycles[index].first_row == 0:
            entries += prefill.sampled
        return {cell: token for _, cell, token in entries}

    def _compare_repredictions(self, number: int, ours: Reprediction, theirs: Reprediction) -> None:
        """Explain another answer to whether a row's first token stays, or another token in its place (SCHED-5)."""
        cell, what = ours.cell, f"pass {number}, cell {ours.cell}: reprediction {ours}, the reference {theirs}"
        assert (ours.attempt, ours.held_token) == (theirs.attempt, theirs.held_token), f"{what}: not of the same token"
        model = self.theirs.passes[number].model
        old = self._known(prediction_before(self.theirs, number, cell), [cell])
        new = self._known(number, [cell])
        if ours.kept != theirs.kept:
            draw = float(uniform_noise(self.seed, acceptance_stream(model), [cell], attempt=ours.attempt)[0, 0])
            answers = margins.repredictions_kept(draw, old, new, ours.held_token)
            self._note(ours.kept in answers, what)
        else:
            codes = self.manifest.target.vocabulary
            noise = gumbel_noise(self.seed, sample_stream(model), [cell], codes, ours.attempt)[0].numpy()
            self._note(bool(margins.repredicted_tokens(old, new, noise)[ours.token]), what)


def prediction_before(trace: Any, number: int, cell: int) -> int:
    """Return the last pass before `number` from which the same model predicted a cell (SCHED-5)."""
    model = trace.passes[number].model
    for earlier in range(number - 1, -1, -1):
        made = trace.passes[earlier]
        cells = {entry[1] for entry in made.sampled} | {item.cell for item in made.repredicted}
        if made.model == model and cell in cells:
            return earlier
    raise ValueError(f"pass {number}, cell {cell}: expected a prediction before it, found none")

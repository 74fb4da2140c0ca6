"""What an engine may not remember: other prompts, settings of the same shape, another backend, a cancelled decode.

An engine answers as one does that has run nothing before. Whoever keeps what belongs to one request, in captured
graphs, in tables by shape or in caches that are used again, answers otherwise the second time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from mulo_sd import engines
from mulo_sd.conformance.engines.conditions import engine_condition
from mulo_sd.conformance.engines.probes.probe import Twin, random_condition_of
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.loop.decode import Decoded
from mulo_sd.engines.service.hooks import Hooks
from mulo_sd.reference.models import Condition

# Passes and rows of the same shapes, in which every number that a pass takes is another one.
COMMON: dict[str, Any] = {"drafters": (1,), "neighbours": 4, "draft_window": 2, "island_window": 2}
REQUESTS: tuple[dict[str, Any], ...] = (
    {"mode": "ar", "guidance_scale": 1.2, "temperature": 1.0, "top_p": 0.95, "top_k": 0},
    {"mode": "ar", "guidance_scale": 3.0, "temperature": 2.5, "top_p": 1.0, "top_k": 3},
    {"mode": "ar", "guidance_scale": 1.0, "temperature": 0.5, "top_p": 0.6, "top_k": 0},
    {"mode": "parallel", "guidance_scale": 1.2, "tau": 0.2, "radius": 1, "anchor": 4.0, "top_p": 0.95},
    {"mode": "parallel", "guidance_scale": 0.0, "tau": 0.05, "radius": 0, "anchor": 1.0, "temperature": 0.5},
    {"mode": "exact", "guidance_scale": 1.2, "temperature": 0.5, "sweep_width": None},
    {
        "mode": "parallel",
        "guidance_scale": 1.5,
        "temperature": 0.4,
        "draft_by": "sweeps",
        "resample_by": "sweeps",
        "sweeps": 2,
    },
)
# Each after itself and after others.
ORDER = (0, 1, 0, 2, 3, 4, 3, 5, 4, 6, 5, 6)
# Which is cancelled, and which follows.
CANCELLED = ((0, 1), (4, 3), (5, 0), (6, 5))


@dataclass(frozen=True)
class Asked:
    """A request: its number, what is drawn, how, and with which seed."""

    number: int
    condition: engines.Condition
    changes: dict[str, Any]

    @property
    def seed(self) -> int:
        return 2**40 + self.number


class _CancelledError(Exception):
    """Raised out of the middle of a decode."""


def _requests(subject: Subject) -> list[Asked]:
    """Return those that the subject can draw, each with both halves of its condition its own."""
    requests = []
    for number, changes in enumerate(REQUESTS):
        guided = changes["guidance_scale"] != 1
        if changes["mode"] in subject.capabilities and (not guided or "guidance" in subject.capabilities):
            halves = random_condition_of(subject, 40 + number, guided)
            condition = Condition(halves[0], halves[-1]) if guided else Condition(halves[0], halves[0])
            requests.append(Asked(number, engine_condition(condition), changes))
    return requests


def _decode(subject: Subject, request: Asked, stop_after: int | None = None) -> Decoded:
    def progress(done: int, total: int) -> None:
        if stop_after is not None and done >= stop_after:
            raise _CancelledError

    settings = subject.pipeline.settings(**(COMMON | request.changes))
    hooks = Hooks(progress, record_logits=True)
    return subject.pipeline.decode(request.condition, settings, request.seed, hooks=hooks)


def _hold_same(what: str, decoded: Decoded, expected: Decoded, tolerance: float) -> None:
    """Assert that two decodes fed and drew the same from the same logits."""
    for index, (mine, other) in enumerate(zip(decoded.trace.passes, expected.trace.passes, strict=False)):
        where = f"{what}: pass {index} of model {mine.model}"
        same = mine.model == other.model and np.array_equal(mine.positions, other.positions)
        assert same, f"{where} feeds other positions"
        assert np.array_equal(mine.tokens, other.tokens), f"{where} feeds other tokens"
        assert mine.logits is not None
        assert other.logits is not None
        off = float(np.abs(mine.logits - other.logits).max())
        assert off <= tolerance, (
            f"{where}: its logits are off by {off:.3g} from those of a backend that ran nothing else"
        )
        drawn = (mine.sampled, mine.repredicted) == (other.sampled, other.repredicted)
        assert drawn, f"{where} draws other tokens than a backend that ran nothing else"
    assert len(decoded.trace.passes) == len(expected.trace.passes), f"{what}: another number of passes"
    for cycle, right in zip(decoded.trace.cycles, expected.trace.cycles, strict=True):
        assert np.array_equal(cycle.kept, right.kept), f"{what}: other draft tokens are kept"
        assert np.array_equal(cycle.radii, right.radii), f"{what}: other radii"
    assert np.array_equal(decoded.tokens, expected.tokens), f"{what}: another image"


def _tolerance(subject: Subject) -> float:
    """Return how far logits of two runs may be apart: as little as a tenth of what they may be off."""
    manifest = subject.pipeline.bundle.manifest
    return 0.1 * min(manifest.graphs[entry.graph].tolerance for entry in manifest.models)


def requests_leave_nothing_behind(subject: Subject) -> None:
    """CONF-5, PREFILL: prompts, settings and seeds in any order on one backend draw what each draws by itself."""
    requests = _requests(subject)
    alone = {item.number: _decode(subject.fresh(), item) for item in requests}
    by_number, shared = {item.number: item for item in requests}, subject.fresh()
    before = "nothing"
    for number in (number for number in ORDER if number in by_number):
        what = f"request {number} ({by_number[number].changes['mode']}), after {before}"
        _hold_same(what, _decode(shared, by_number[number]), alone[number], _tolerance(subject))
        before = f"request {number}"


def cancelled_decodes_leave_nothing_behind(subject: Subject) -> None:
    """CONF-5, KV-1: after a decode that ended in its middle, early or late, the next is as if nothing had been."""
    requests, shared = {item.number: item for item in _requests(subject)}, subject.fresh()
    target = subject.pipeline.bundle.manifest.target
    for first, second in CANCELLED:
        if first not in requests or second not in requests:
            continue
        cancelled, following = requests[first], requests[second]
        expected = _decode(subject.fresh(), following)
        for share in (0.1, 0.6):
            with pytest.raises(_CancelledError):
                _decode(shared, cancelled, stop_after=max(1, int(share * target.grid_height * target.grid_width)))
            what = f"request {following.number}, after request {cancelled.number} was cancelled"
            _hold_same(what, _decode(shared, following), expected, _tolerance(subject))


def backends_and_caches_are_apart(subject: Subject) -> None:
    """CONF-5, KV-1: two backends of one bundle, and two caches of one of them, fed in turn, see their own tokens."""
    one, other = subject.fresh(), subject.fresh()
    rng = np.random.default_rng(31)
    guided = "guidance" in subject.capabilities
    for number in range(len(subject.pipeline.bundle.manifest.models)):
        twins = [
            Twin(where, number, random_condition_of(subject, 60 + index, guided))
            for index, where in enumerate((one, other, one))
        ]
        for index, twin in enumerate(twins):
            twin.hold(f"model {number}, decode {index} of 3 in turn, the prefix", *twin.prefill())
        entry = twins[0].entry
        cells, at = entry.grid_height * entry.grid_width, 0
        while at < min(cells, 24):
            for index, twin in enumerate(twins):
                fed = list(range(at, min(at + 3, cells)))
                answers = twin.feed(fed, rng.integers(0, entry.vocabulary, len(fed)).tolist())
                twin.hold(f"model {number}, decode {index} of 3 in turn, cells {fed}", *answers)
            at += 3


def conditions_are_read_whole(subject: Subject) -> None:
    """PREFILL, GRID-2: the prefix is made of this condition, every part of it, whatever was asked before."""
    pipeline = subject.fresh().pipeline
    guided = "guidance" in subject.capabilities
    first, other = (random_condition_of(subject, seed, guided) for seed in (70, 71))
    mixed = {"a condition": first, "another": other}
    if guided:
        mixed |= {
            "the first with another null condition": torch.stack([first[0], other[1]]),
            "another with the first's null condition": torch.stack([other[0], first[1]]),
            "the first's halves exchanged": first.flip(0),
        }
    for name, index in (("first", 0), ("last", -1)):
        changed = first.clone()
        changed[:, index] = other[:, index]
        mixed[f"the first with another {name} token"] = changed
    mixed |= {"its conditional half alone": first[:1], "the first again": first}
    for number, entry in enumerate(pipeline.bundle.manifest.models):
        tolerance = pipeline.bundle.manifest.graphs[entry.condition_graph].tolerance
        for name, condition in mixed.items():
            prefix = pipeline.backend.run(entry.condition_graph, {"condition": condition.numpy()})["prefix"]
            with torch.inference_mode():
                expected = subject.models.transformer(number).prefix_embeddings(condition).numpy()
            assert prefix.shape == expected.shape, f"model {number}, {name}: prefix of shape {prefix.shape}"
            off = float(np.abs(prefix - expected).max())
            assert off <= tolerance, (
                f"model {number}, {name}: the prefix is off by {off:.3g}, expected at most {tolerance}"
            )

"""Passes with branches, nodes and hidden states: every backend shows a token what the reference shows it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import Backend, BackendError, Scores, Traits
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.backends.ort.device import OnnxRuntimeDeviceBackend
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.bundle import Bundle, open_bundle
from mulo_sd.engines.modes import Mode
from mulo_sd.engines.parts import MAX_NODES
from mulo_sd.engines.passes.decodes_backend import DecodesBackend
from mulo_sd.engines.passes.head import HeadSession
from mulo_sd.engines.passes.shared_passes import SharedPasses
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.branches import ALL_BITS, Branches, Tree
from mulo_sd.reference import branches as reference_branches
from mulo_sd.reference import minimal
from mulo_sd.reference.cache import KVCache, feed_branched
from tests.fakes.noting_backend import NotingBackend

PREFIX = np.random.default_rng(4).integers(0, 7, (2, 12, 5))
LENGTH, CELLS, CODES = 12, 64, 48
ATOL = 5e-5
Ints = NDArray[np.int64]
NONE = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def bundle(minimal_bundle: Path) -> Bundle:
    return open_bundle(minimal_bundle)


@pytest.fixture(scope="module", params=["ort", "ort-device", "torch", "unscored"])
def backend(request: pytest.FixtureRequest, bundle: Bundle) -> Backend:
    makers: dict[str, Callable[[], Backend]] = {
        "ort": lambda: OnnxRuntimeBackend(bundle, 1),
        "ort-device": lambda: OnnxRuntimeDeviceBackend(bundle, "cpu"),
        "torch": lambda: TorchBackend(minimal.load()),
        "unscored": lambda: _Unscored(OnnxRuntimeBackend(bundle, 1)),
    }
    return makers[request.param]()


class _Unaware(NotingBackend):
    """A backend of somebody who has not heard of branches."""

    traits = Traits()


class _Unscored(UnscoredBackend):
    """One whose logits and hidden states come to the host."""

    label = "unscored"


class Target:
    """The reference's target in a decode of its own."""

    def __init__(self, sees_zeros: bool = False) -> None:
        self.model = minimal.load().target
        self.cache = KVCache(self.model.config, 2)
        with torch.inference_mode():
            prefix = self.model.prefix_embeddings(torch.from_numpy(PREFIX))
            self.prefill = feed_branched(self.model, self.cache, prefix, torch.arange(LENGTH))
        if sees_zeros:
            self.cache.written[LENGTH:] = True

    def feed(
        self, cells: Ints, tokens: Ints, branches: Branches | None = None, parents: Ints | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return logits and hidden states."""
        theirs = None
        if branches is not None:
            theirs = reference_branches.Branches(*(torch.from_numpy(bits) for bits in branches))
        with torch.inference_mode():
            embeddings = self.model.token_embeddings(torch.from_numpy(tokens))[None].expand(2, -1, -1)
            positions = torch.from_numpy(cells) + LENGTH
            on_tree = None if parents is None else torch.from_numpy(parents)
            fed = feed_branched(self.model, self.cache, embeddings, positions, theirs, on_tree)
        return fed.logits.numpy(), fed.hidden.numpy()


def session_of(backend: Backend, bundle: Bundle) -> TransformerSession:
    """Return the session of a target with branches."""
    entry = bundle.manifest.branched
    assert entry is not None
    return TransformerSession(backend, entry, PREFIX)


def equal(session: TransformerSession | HeadSession, scores: Scores, expected: tuple[NDArray[np.float32], ...]) -> None:
    """Compare logits and hidden states."""
    np.testing.assert_allclose(scores.logits(), expected[0], atol=ATOL)
    np.testing.assert_allclose(session.hidden_of(scores), expected[1], atol=ATOL)


def drawn_tree(generator: np.random.Generator, first: int, living: int, count: int, depths: dict[int, int]) -> Tree:
    """Return nodes with parents at random among those that live, none deeper than the grid reaches."""
    cells, parents = [], []
    for number in range(living, living + count):
        parent = int(generator.integers(-1, number))
        if parent >= 0 and first + depths[parent] + 1 >= CELLS:
            parent = -1
        depths[number] = 0 if parent < 0 else depths[parent] + 1
        parents.append(parent)
        cells.append(first + depths[number])
    return Tree(np.array(cells, dtype=np.int64), generator.integers(0, CODES, count), np.array(parents, dtype=np.int64))


def test_a_long_decode(backend: Backend, bundle: Bundle) -> None:
    """Ordinary tokens, whole trees, trees layer by layer and rows in turn; the cache is compacted on the way."""
    generator, session, target = np.random.default_rng(1), session_of(backend, bundle), Target()
    scores = session.prefill()
    equal(session, scores, tuple(part.numpy() for part in target.prefill))
    moved = 0
    for number in range(40):
        used = session.slots.used
        cells = np.sort(generator.permutation(CELLS - 8)[: generator.integers(1, 20)])
        tokens = generator.integers(0, CODES, len(cells))
        if number % 4 == 3:
            own = np.int64(1) << (cells // 8)
            branches = Branches(own, np.where(generator.random(len(cells)) < 0.5, ALL_BITS, own))
            equal(session, session.feed(cells, tokens, branches), target.feed(cells, tokens, branches))
            decided = cells[::2] + LENGTH
            session.open(decided)
            target.cache.open(torch.from_numpy(decided))
        else:
            first, depths = int(cells[-1]) + 1, dict[int, int]()
            nodes = 0 if number % 4 == 0 else int(generator.integers(1, 30))
            tree = drawn_tree(generator, first, 0, nodes, depths)
            every = np.concatenate([cells, tree.cells]), np.concatenate([tokens, tree.tokens])
            equal(session, session.feed(cells, tokens, tree=tree), target.feed(*every, parents=tree.parents))
            for _ in range(number % 3):
                more = drawn_tree(generator, first, len(depths), 10, depths)
                fed = session.feed(NONE, NONE, tree=more)
                equal(session, fed, target.feed(more.cells, more.tokens, parents=more.parents))
        moved += session.slots.used < used
    assert moved > 1


def test_head(backend: Backend, bundle: Bundle) -> None:
    """The prefix, image tokens and a tree layer by layer, each node with its parent's hidden state; then the next."""
    head, generator = minimal.load().head, np.random.default_rng(2)
    entry = bundle.manifest.head
    assert head is not None
    assert entry is not None
    session, cache = HeadSession(backend, entry, 2), KVCache(head.config, 2)

    def feed(positions: Ints, tokens: Ints, features: NDArray[np.float32], parents: Ints = NONE) -> Scores:
        scores = session.feed(positions, tokens, features, parents)
        with torch.inference_mode():
            each = [torch.from_numpy(part)[None].expand(2, -1) for part in (tokens, positions)]
            on_tree = torch.from_numpy(parents) if len(parents) else None
            attend = cache.attend(torch.from_numpy(positions), parents=on_tree)
            logits, hidden = head(each[0], torch.from_numpy(features), each[1], attend)
        equal(session, scores, (logits.numpy(), hidden.numpy()))
        return scores

    def features(count: int) -> NDArray[np.float32]:
        return generator.standard_normal((2, count, head.config.dim), dtype=np.float32)

    feed(np.arange(1, LENGTH + 3), np.arange(LENGTH + 2), features(LENGTH + 2))
    for step in range(12):
        last = LENGTH + 3 + step
        hidden = session.hidden_of(feed(np.array([last]), np.array([step]), features(1)))[:, -1:]
        parents, living = np.full(10, -1), 0
        for depth in range(3):
            tokens = generator.integers(0, CODES, 10)
            before = hidden[:, np.zeros(10, dtype=int)] if depth == 0 else hidden[:, parents - (living - 10)]
            hidden = session.hidden_of(feed(np.full(10, last + 1 + depth), tokens, before, parents))
            living += 10
            parents = np.sort(generator.integers(living - 10, living, 10))
    assert session.slots.nodes == 30


def test_block(backend: Backend, bundle: Bundle) -> None:
    """The block drafter is a transformer of one code more, the mask's, and has neither branches nor hidden states."""
    block, entry = minimal.load().block, bundle.manifest.block
    assert block is not None
    assert entry is not None
    session, cache = TransformerSession(backend, entry, PREFIX), KVCache(block.config, 2)
    tokens, mask = np.array([3, 5, 7]), np.full(9, CODES)
    with torch.inference_mode():
        prefix = block.prefix_embeddings(torch.from_numpy(PREFIX))
        feed_branched(block, cache, prefix, torch.arange(LENGTH))
        session.prefill()
        for fed in (np.concatenate([tokens, mask]), tokens, np.concatenate([tokens[:1], mask])):
            embeddings = block.token_embeddings(torch.from_numpy(fed))[None].expand(2, -1, -1)
            expected = feed_branched(block, cache, embeddings, torch.arange(len(fed)) + LENGTH).logits
            scores = session.feed(np.arange(len(fed)), fed)
            np.testing.assert_allclose(scores.logits(), expected.numpy(), atol=ATOL)
    with pytest.raises(BackendError, match=r"^graph block: expected tokens on no branch"):
        session.feed(np.array([0]), np.array([0]), Branches(np.array([1]), np.array([1])))


def test_zeros_are_seen(backend: Backend, bundle: Bundle) -> None:
    """MODE-UNMASKED: cells that nothing was fed for are zeros to whoever stands behind them, compactions or not."""
    session, target = TransformerSession(backend, bundle.manifest.target, PREFIX, sees_zeros=True), Target(True)
    np.testing.assert_allclose(session.prefill().logits(), target.prefill.logits.numpy(), atol=ATOL)
    generator = np.random.default_rng(3)
    for _ in range(30):
        cells = np.sort(generator.permutation(CELLS)[: generator.integers(1, 9)])
        tokens = generator.integers(0, CODES, len(cells))
        np.testing.assert_allclose(session.feed(cells, tokens).logits(), target.feed(cells, tokens)[0], atol=ATOL)


def test_what_is_kept_of_scores(backend: Backend, bundle: Bundle) -> None:
    """The last row's scores have its hidden state, and outlive the next pass."""
    session = session_of(backend, bundle)
    scores = session.prefill()
    last, expected = scores.last(), session.hidden_of(scores)[:, -1:].copy()
    session.feed(np.arange(3), np.arange(3))
    np.testing.assert_array_equal(last.hidden(), expected)


def test_decodes_share_their_passes(bundle: Bundle) -> None:
    """Two decodes with trees of other sizes are padded to one pass, and each gets its own scores."""
    shared = SharedPasses(OnnxRuntimeBackend(bundle, 1), places=2)
    errors: list[BaseException] = []

    def decode(number: int) -> None:
        try:
            generator, target = np.random.default_rng(number), Target()
            session = session_of(DecodesBackend(shared, number, lambda: None), bundle)
            session.prefill()
            for cell in range(12):
                tree = drawn_tree(generator, cell + 1, 0, 1 + number, {})
                token = np.array([cell])
                every = np.concatenate([token, tree.cells]), np.concatenate([token, tree.tokens])
                scores = session.feed(token, token, tree=tree)
                equal(session, scores, target.feed(*every, parents=tree.parents))
        except BaseException as error:  # told by the test, not by a thread
            errors.append(error)

    shared.begin(*(partial(decode, number) for number in range(2)))
    shared.close()
    assert errors == []
    assert shared.passes < 2 * 13


def test_refused(bundle: Bundle) -> None:
    """Branches where there are none, both kinds at once, too many nodes, a parent that does not live yet."""
    backend = OnnxRuntimeBackend(bundle, 1)
    plain, session = TransformerSession(backend, bundle.manifest.target, PREFIX), session_of(backend, bundle)
    one, tree = np.zeros(1, dtype=np.int64), Tree(np.array([1]), np.array([0]), np.array([-1]))
    with pytest.raises(BackendError, match=r"^graph target: expected tokens on no branch"):
        plain.feed(one, one, tree=tree)
    with pytest.raises(ValueError, match=r"^pass: expected branches or nodes of a tree, got both"):
        session.feed(one, one, Branches(one, one), tree)
    many = np.ones(MAX_NODES + 1, dtype=np.int64)
    with pytest.raises(ValueError, match=f"^tree: expected at most {MAX_NODES} nodes, got {MAX_NODES + 1}"):
        session.feed(one, one, tree=Tree(many, many, -many))
    with pytest.raises(ValueError, match=r"^tree: expected the parent of node 0 in -1\.\.-1, got 0"):
        session.feed(one, one, tree=Tree(one, one, one))


def test_a_backend_that_cannot(bundle: Bundle) -> None:
    """One of one's own that has not heard of branches: a line when such a session is made, and not in its middle."""
    with pytest.raises(BackendError, match=r"graph target_branched: expected traits\.branches, got False"):
        session_of(_Unaware(), bundle)


def test_scores_without_hidden_states(bundle: Bundle) -> None:
    """Of a graph that gives none they are asked for in vain; of the wrong shape they are refused."""
    backend = OnnxRuntimeBackend(bundle, 1)
    with pytest.raises(NotImplementedError, match="hidden"):
        TransformerSession(backend, bundle.manifest.target, PREFIX).prefill().hidden()
    session = session_of(backend, bundle)
    logits = np.zeros((2, 3, CODES), dtype=np.float32)
    with pytest.raises(BackendError, match="graph target_branched: hidden: expected an array of float32"):
        session.hidden_of(ArrayScores(logits, logits))


@pytest.mark.parametrize(
    ("mode", "runs"),
    [
        ("ar", {"target"}),
        ("sjd", {"target"}),
        ("pjd", {"target_branched"}),
        ("eagle", {"target_branched", "head"}),
        ("lantern", {"target_branched", "head"}),
    ],
)
def test_a_decode_loads_what_it_needs(bundle: Bundle, mode: Mode, runs: set[str]) -> None:
    """The target once more, or the head, only where the mode asks for it; the target itself not then."""
    backend = OnnxRuntimeBackend(bundle, 1)
    engines.Pipeline(bundle, backend).generate("a red circle", seed=1, mode=mode)
    graphs = {entry.graph for entry in bundle.manifest.with_caches}
    assert graphs & backend.sessions.keys() == runs

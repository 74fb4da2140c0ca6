"""The backend in torch, on the CPU: it decodes as the graphs' modules do, padded or not; its noise is the host's."""

import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.bench import in_memory
from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.backends.host_scores import HostScores
from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda import open as open_module
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.backends.torch_cuda.cache import BUCKETS, MAX_PADDING, bucket
from mulo_sd.engines.backends.torch_cuda.noise import NoiseTables, words
from mulo_sd.engines.backends.torch_cuda.sampling import log_probs
from mulo_sd.engines.backends.torch_cuda.scores import TorchScores
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import slot_count
from mulo_sd.engines.bundle.manifest import FileEntry
from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource, uniform_noise
from mulo_sd.engines.rules.slots import DEAD_RANK
from mulo_sd.export.modules import write_other_modules, write_transformer
from mulo_sd.reference.checkpoints.ta_tok import TATokConfig, TATokDecoder
from mulo_sd.reference.checkpoints.vq import VQConfig, VQTokenizer
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.random_weights import fill, random_condition
from mulo_sd.reference.sampling import target_log_probs
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from tests.fakes.torch_backend import TorchBackend as PlainBackend
from tests.fakes.torch_backend import bundle_in_memory

CODES, FIELDS = 32, 3
FAMILIES: dict[str, dict[str, Any]] = {
    "demo": {"condition": "fields", "prefix_length": 2, "prefix_vocabulary": 7},
    "llamagen": {
        "condition": "caption",
        "condition_width": 6,
        "prefix_length": 5,
        "prefix_vocabulary": 1,
        "absolute": False,
        "zero_prefix_rotation": True,
    },
    "tar": {
        "condition": "features",
        "condition_width": 6,
        "prefix_length": 4,
        "prefix_vocabulary": 1,
        "rotary": False,
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "ar": {"mode": "ar", "guidance_scale": 3.0, "top_k": 5},
    "zipar": {"mode": "zipar", "window": 2, "top_p": 0.9},
    "serial": {"mode": "serial", "neighbours": 4, "draft_rows": 1, "tau": 0.1},
    "parallel": {"mode": "parallel", "neighbours": 4, "tau": 0.2, "anchor": 2.0, "temperature": 0.8, "top_k": 9},
    "exact": {"mode": "exact", "neighbours": 4, "temperature": 0.7, "down_sampler": "bicubic"},
    "unguided": {"mode": "parallel", "neighbours": 4, "guidance_scale": 1.0, "adaptive_window": True},
    "greedy": {"mode": "parallel", "neighbours": 4, "temperature": 0.0, "radius_nats": 0.7},
}


class Small(NamedTuple):
    """A family's models of a few cells, and both backends."""

    models: Models
    condition: Condition
    bundle: Bundle
    plain: PlainBackend
    ours: TorchBackend


def small_models(family: str) -> Models:
    with torch.random.fork_rng(devices=[]):  # a new module draws weights, which `fill` overwrites
        transformers = [
            Transformer(TransformerConfig(side, side, CODES, layers=2, heads=2, dim=24, **FAMILIES[family]))
            for side in (4, 2)
        ]
        tokenizer = Tokenizer(TokenizerConfig(CODES, 4, 8, 1, 1, 2))
    generator = torch.Generator().manual_seed(7)
    for module in (*transformers, tokenizer):
        fill(module, generator, 2.0)
    return Models(transformers[0], (transformers[1],), tokenizer)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Small]:
    """Return a family's models by name."""
    made: dict[str, Small] = {}

    def make(family: str) -> Small:
        if family not in made:
            models, generator = small_models(family), torch.Generator().manual_seed(3)
            if family == "demo":
                ids = torch.randint(1, 7, (2, 2, FIELDS), generator=generator)
                condition = Condition(ids[0], ids[1])
            else:
                condition = random_condition(models.target.config, generator)
            bundle = bundle_in_memory(models, tmp_path_factory.mktemp(family), FIELDS, CODES, family)
            made[family] = Small(
                models, condition, bundle, PlainBackend(models, FIELDS), TorchBackend(models, torch.float32, "cpu")
            )
        return made[family]

    return make


def decoded(small: Small, backend: Any, chosen: dict[str, Any], seed: int = 5) -> Any:
    shown = None if small.condition.shown is None else small.condition.shown.numpy()
    uncond = None if small.condition.uncond is None else small.condition.uncond.numpy()
    condition = engines.Condition(small.condition.cond.numpy(), uncond, shown)
    settings = engines.Settings().changed(**chosen)
    return Decoder(small.bundle, backend, condition, settings, seed).decode()


def set_padding(backend: TorchBackend, pads: bool) -> None:
    for runner in backend.runners.values():
        runner.pads = pads


@pytest.mark.parametrize("chosen", SETTINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_decodes_are_those_of_the_graphs_modules(small: Callable[[str], Small], family: str, chosen: str) -> None:
    """Token for token, pass for pass; and padding changes nothing."""
    made = small(family)
    expected = decoded(made, made.plain, SETTINGS[chosen])
    for pads in (False, True):
        set_padding(made.ours, pads)
        found = decoded(made, made.ours, SETTINGS[chosen])
        assert found.tokens.tolist() == expected.tokens.tolist()
        assert [item.positions.tolist() for item in found.trace.passes] == [
            item.positions.tolist() for item in expected.trace.passes
        ]
    set_padding(made.ours, False)


def test_it_scores(small: Callable[[str], Small]) -> None:
    assert small("demo").ours.traits.scores


def test_stateless_graphs_answer_as_the_modules_do(small: Callable[[str], Small]) -> None:
    made, generator = small("demo"), np.random.default_rng(2)
    low, high = generator.integers(0, CODES, (2, 2)), generator.integers(0, CODES, (4, 4))
    logits = generator.standard_normal((2, 3, CODES), dtype=np.float32)
    sampling: dict[str, NDArray[Any]] = {
        "cond_logits": logits[0],
        "uncond_logits": logits[1],
        "guidance_scale": np.array(2.0, dtype=np.float32),
        "temperature": np.array(0.9, dtype=np.float32),
        "top_k": np.array(9),
        "top_p": np.array(0.8, dtype=np.float32),
    }
    asked: list[tuple[str, dict[str, NDArray[Any]]]] = [
        ("target_condition", {"condition": generator.integers(0, 7, (2, 2, FIELDS))}),
        ("up_sampler_2_bicubic", {"low_tokens": low}),
        ("up_sampler_2_nearest", {"low_tokens": low}),
        ("down_sampler_2_area", {"high_tokens": high}),
        ("down_sampler_2_bicubic", {"high_tokens": high}),
        ("decoder", {"tokens": high}),
        ("sampler", sampling | {"noise": generator.standard_normal((3, CODES), dtype=np.float32)}),
        (
            "acceptance",
            sampling | {"draft_tokens": np.array([1, 5, 9]), "neighbours": generator.integers(0, CODES, (CODES, 4))},
        ),
    ]
    for graph, inputs in asked:
        expected, found = made.plain.run(graph, inputs), made.ours.run(graph, inputs)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=f"{graph} {name}")


@pytest.mark.parametrize("top_p", [1.0, 0.7])
@pytest.mark.parametrize("top_k", [0, 1, 6])
def test_filters_keep_what_the_reference_keeps(top_k: int, top_p: float) -> None:
    """Equal logits, of which there are many, rank by code."""
    logits = torch.randint(-3, 4, (2, 50, CODES), generator=torch.Generator().manual_seed(1)).float()
    for temperature in (0.0, 0.5, 1.0):
        expected = target_log_probs(logits[0], logits[1], 1.5, temperature, top_k, top_p)
        torch.testing.assert_close(log_probs(logits, 1.5, temperature, top_k, top_p), expected)
        one = log_probs(logits[:, :1], 1.5, temperature, top_k, top_p)
        torch.testing.assert_close(one, expected[:1])


def test_noise_is_the_hosts() -> None:
    """The integers to the bit, and what is made of them, whichever block is asked for first."""
    seed, positions = 2**64 - 3, np.array([0, 1, 77, 4095])
    found = words(seed, 5, torch.from_numpy(positions), 10)
    expected = (uniform_noise(seed, 5, positions, 10) * 2.0**32 - 0.5).astype(np.int64)
    assert found.numpy().tolist() == expected.tolist()
    source, tables = NoiseSource(9, 2, 600, 50), NoiseTables(torch.device("cpu"))
    table = tables.of(source)
    for cells in ([599], [0, 3, 300]):
        rows = table.through(cells[0], cells[-1])[cells].numpy()
        assert rows.dtype == np.float32
        np.testing.assert_array_max_ulp(rows, source.rows(cells), 1)
    assert tables.of(source) is table
    del source
    gc.collect()
    assert len(tables.tables) == 0


def test_scores_answer_as_the_hosts_do(small: Callable[[str], Small]) -> None:
    """Rows with gaps, one row, an anchor, raw probabilities; the last row's scores outlive a pass."""
    made, generator = small("demo"), np.random.default_rng(4)
    logits = generator.standard_normal((2, 6, CODES), dtype=np.float32)
    theirs, ours = HostScores(made.plain, logits), TorchScores(made.ours.sampling, torch.from_numpy(logits.copy()))
    processed = engines.Distribution(guidance_scale=2.0, temperature=0.7, top_k=20)
    source = NoiseSource(1, 0, 16, CODES)
    anchor = Anchor(3.0, made.bundle.codes, generator.integers(0, CODES, 16), 0)
    neighbours = made.bundle.neighbours[:, :4]
    for rows in (np.array([0, 2, 5]), np.array([1, 2, 3]), np.array([4])):
        cells = rows + 7
        for chosen in (None, anchor):
            expected = theirs.sample(rows, cells, processed, source, chosen)
            assert ours.sample(rows, cells, processed, source, chosen).tolist() == expected.tolist()
        tokens = generator.integers(0, CODES, len(rows))
        for distribution in (processed, processed.raw()):
            mine = ours.judge(rows, distribution, tokens, neighbours)
            other = theirs.judge(rows, distribution, tokens, neighbours)
            for name in ("pooled_probs", "entropies"):
                np.testing.assert_allclose(vars(mine)[name], vars(other)[name], atol=1e-5)
    last = ours.last()
    ours.tensor.zero_()
    assert np.array_equal(last.logits(), logits[:, -1:])


def pass_inputs(model: Transformer, slots: int, row: int, length: int, start: int) -> dict[str, NDArray[Any]]:
    """Return one row of a pass that writes from slot `start` on; some slots before are dead."""
    config, generator = model.config, np.random.default_rng(100 + row)
    ranks = np.full((1, slots), DEAD_RANK)
    ranks[0, :start] = np.where(generator.random(start) < 0.7, generator.integers(0, 5, start), DEAD_RANK)
    positions = 6 + row + np.arange(length)
    ranks[0, start : start + length] = positions
    return {
        "tokens": generator.integers(0, config.vocabulary, (1, length)),
        "prefix": np.zeros((1, length, config.dim), dtype=np.float32),
        "positions": positions[None],
        "slot_ranks": ranks,
        "write_index": np.array([start]),
    }


@pytest.mark.parametrize("pads", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_one_pass_are_separate_passes(small: Callable[[str], Small], family: str, pads: bool) -> None:
    """Four rows with other tokens, positions and slots: the same logits, keys and values as one by one."""
    made, slots = small(family), 18
    backend = TorchBackend(made.models, slots={"target": slots})
    set_padding(backend, pads)
    generator = torch.Generator().manual_seed(6)
    together, alone = backend.new_cache("target", 4), [backend.new_cache("target", 1) for _ in range(4)]
    for name in ("keys", "values"):
        filled = torch.randn(getattr(together.storage, name).shape, generator=generator)
        getattr(together.storage, name).copy_(filled)
        for row in range(4):
            getattr(alone[row].storage, name).copy_(filled[:, row : row + 1])
    rows = [pass_inputs(made.models.target, slots, row, 3, start) for row, start in enumerate((4, 9, 0, 15))]
    joint = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    found = backend.feed("target", together, joint)
    for row in range(4):
        expected = backend.feed("target", alone[row], rows[row])
        np.testing.assert_allclose(found[row : row + 1], expected, atol=1e-5)
        kept = int(rows[row]["write_index"][0]) + 3
        for name in ("keys", "values"):
            ours, theirs = getattr(together.storage, name)[:, row], getattr(alone[row].storage, name)[:, 0]
            torch.testing.assert_close(ours[:, :, :kept], theirs[:, :, :kept], atol=1e-5, rtol=0)
    part = backend.score("target", together, joint).part(1, 2, 2)
    assert part.logits().shape == (2, 2, CODES)


def test_slots_are_kept_in_order(small: Callable[[str], Small]) -> None:
    backend = TorchBackend(small("demo").models)
    cache = backend.new_cache("target", 2)
    cache.storage.keys.copy_(torch.arange(cache.storage.capacity)[:, None].expand_as(cache.storage.keys))
    backend.keep_slots("target", cache, np.array([0, 2, 3, 9]))
    assert cache.storage.keys[1, 1, 1, :5, 0].tolist() == [0, 2, 3, 9, 4]


def test_memory_is_used_again_and_is_empty(small: Callable[[str], Small]) -> None:
    """A cache that is dropped leaves its memory, zeroed, to the next; two in use share none."""
    backend = TorchBackend(small("demo").models)
    first, second = backend.new_cache("target", 2), backend.new_cache("target", 2)
    assert first.storage is not second.storage
    first.storage.keys.fill_(torch.nan)
    storage = first.storage
    del first
    gc.collect()
    again = backend.new_cache("target", 2)
    assert again.storage is storage
    assert not again.storage.keys.any()


def test_slots_that_were_sent_before_are_dead_again(small: Callable[[str], Small]) -> None:
    """A cache's memory serves the next one, whose passes begin at slot 0 again."""
    made = small("demo")
    storage = made.ours.new_cache("target", 1).storage
    for start in (12, 3):
        inputs = pass_inputs(made.models.target, storage.slots, 0, 2, start)
        storage.send(inputs, 3)
        found = storage.views(3)
        expected = np.minimum(inputs["slot_ranks"], np.iinfo(np.int32).max)
        assert found.slot_ranks[:, : storage.slots].tolist() == expected.tolist()
        assert found.positions.tolist() == [[6, 7, 7]]
        assert found.write_index.tolist() == [start]


def test_the_same_decode_has_the_same_bits(small: Callable[[str], Small]) -> None:
    made = small("llamagen")
    first, second = (decoded(made, made.ours, SETTINGS["parallel"], 8) for _ in range(2))
    assert first.tokens.tolist() == second.tokens.tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_precisions_decode(small: Callable[[str], Small], dtype: torch.dtype) -> None:
    made = small("tar")
    backend = TorchBackend(made.models, dtype)
    assert backend.weights("target").output.dtype == dtype
    assert decoded(made, backend, SETTINGS["parallel"]).tokens.shape == (4, 4)


@pytest.mark.parametrize("family", ["llamagen", "tar"])
def test_a_bundle_without_files(small: Callable[[str], Small], family: str) -> None:
    made = small(family)
    bundle = in_memory.bundle_in_memory(made.models, made.ours, "llamagen" if family == "llamagen" else "tar", CODES)
    found, expected = (decoded(one, made.ours, SETTINGS["serial"]) for one in (made._replace(bundle=bundle), made))
    assert found.tokens.tolist() == expected.tokens.tolist()
    for null, other in zip(bundle.null_conditions, made.bundle.null_conditions, strict=True):
        assert null is not None
        assert other is not None
        assert np.array_equal(null, other)


def test_few_lengths_are_captured() -> None:
    assert [bucket(count) for count in (1, 5, 128, 129, 4096)] == [1, 6, 128, 192, 4096]
    assert all(0 <= bucket(count) - count < MAX_PADDING for count in range(1, 1000))
    assert tuple(sorted(BUCKETS)) == BUCKETS


def written(folder: Path, made: Small, models: Models, ta_tok: TATokDecoder | None) -> Bundle:
    """Return a bundle whose folder holds the weights of models."""
    modules: dict[str, FileEntry] = {}
    for number, name in enumerate(("target", "drafter_1")):
        modules[name] = write_transformer(folder, name, models.transformer(number), torch.float32)
    modules |= write_other_modules(folder, models, ta_tok, torch.float32)
    manifest = made.bundle.manifest.model_copy(update={"modules": modules})
    assert set(modules.values()) <= set(manifest.files())
    return replace(made.bundle, path=folder, manifest=manifest)


def test_a_bundles_weights_make_the_same_models(small: Callable[[str], Small], tmp_path: Path) -> None:
    made = small("demo")
    backend = open_module.open_on_device(written(tmp_path, made, made.models, None), "cpu")
    expected = decoded(made, made.plain, SETTINGS["serial"])
    assert decoded(made, backend, SETTINGS["serial"]).tokens.tolist() == expected.tokens.tolist()


def test_published_tokenizers_are_loaded(small: Callable[[str], Small], tmp_path: Path) -> None:
    """LlamaGen's VQ and TA-Tok, with what their tensors do not tell."""
    made, generator = small("tar"), torch.Generator().manual_seed(2)
    tokenizer = VQTokenizer(VQConfig(channels=32, z_channels=32, codes=CODES, code_dim=8))
    ta_tok = TATokDecoder(TATokConfig(50, 6, 6, 32, 1, 3, 4, unit_codes=False), 4)
    for module in (tokenizer, ta_tok):
        fill(module, generator, 1.0)
    models = Models(made.models.target, made.models.drafters, tokenizer)
    found, decoder = open_module.load_modules(written(tmp_path, made, models, ta_tok))
    assert isinstance(found.tokenizer, VQTokenizer)
    assert torch.equal(found.tokenizer.codebook, tokenizer.codebook)
    assert decoder is not None
    assert decoder.config == ta_tok.config
    ids = torch.tensor([3, 1, 4, 1])
    assert torch.equal(decoder(ids), ta_tok(ids))


def test_what_cannot_be_used_is_told_in_a_line(
    small: Callable[[str], Small], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small("demo")
    with pytest.raises(BackendError, match="no weights of target, drafter_1, tokenizer; build it again"):
        open_module.load_modules(made.bundle)
    bundle = written(tmp_path, made, made.models, None)
    (tmp_path / "weights" / "tokenizer.safetensors").write_bytes(b"nothing")
    with pytest.raises(BackendError, match="weights cannot be used"):
        open_module.load_modules(bundle)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="expected an NVIDIA GPU"):
        engines.backends.make_backend("torch-cuda", bundle)
    with pytest.raises(BackendError, match="graph nothing: expected one of acceptance"):
        made.ours.run("nothing", {})
    cache = made.ours.new_cache("target", 1)
    slots = cache.storage.slots
    inputs = pass_inputs(made.models.target, slots, 0, 3, slots - 3) | {"write_index": np.array([slots - 2])}
    with pytest.raises(BackendError, match=f"expected writes into {slots} slots"):
        made.ours.feed("target", cache, inputs)


def test_kernels_that_fail_are_done_without(small: Callable[[str], Small], monkeypatch: pytest.MonkeyPatch) -> None:
    """No Triton, or kernels that answer something else: torch's own operations, and a note that says so."""
    monkeypatch.setitem(sys.modules, "triton", None)
    backend = TorchBackend(small("demo").models, kernels="triton")
    assert backend.kernels == "torch"
    assert "torch's own are used" in backend.notes[0]
    assert all(runner.kernels == () for runner in backend.runners.values())
    assert slot_count(small("demo").models.target.config) == 2 + 16 + 16


@pytest.mark.usefixtures("interpreter")
def test_wide_kernels_make_what_those_for_few_rows_cannot(
    small: Callable[[str], Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model too large for them, for one: with dependent launch and without, then wide kernels alone."""
    from mulo_sd.engines.backends.torch_cuda import few_rows

    def refuse(*_: object) -> int:
        raise ValueError("too large")

    monkeypatch.setattr(few_rows, "best_grid", refuse)
    monkeypatch.setattr(check, "SHAPES", ((2, 1),))
    monkeypatch.setattr(check, "REPEATS", 0)
    backend = TorchBackend(small("demo").models, kernels="triton")
    assert backend.kernels == "triton"
    assert backend.notes == [
        "fused kernels with pdl: ValueError: too large; others are tried",
        "fused kernels: ValueError: too large; others are tried",
    ]
    assert [[type(kernels).__name__ for kernels in runner.kernels] for runner in backend.runners.values()] == [
        ["WidePass"]
    ] * len(backend.runners)

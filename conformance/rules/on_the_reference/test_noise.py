"""RNG-1 and RNG-2."""

import random

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import decode_laws, function_laws, oracles
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.strategies.decodes import AHEAD, MIXED, SEEDS, Case, cases
from mulo_sd.reference.noise import acceptance_stream, gumbel_noise, philox, random_words, sample_stream, uniform_noise
from mulo_sd.reference.sampling import sample

WORDS = st.integers(0, 2**32 - 1)
STREAMS = st.integers(0, 7) | WORDS
POSITIONS = st.lists(st.integers(0, 4095) | WORDS, min_size=1, max_size=4)
ATTEMPTS = st.integers(0, 3) | WORDS


@st.composite
def scores(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    """Log-probabilities and noise, both in halves, so that sums are exact and ties common."""
    rows, codes = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    half = st.integers(-6, 6).map(lambda number: number / 2)
    table = st.lists(st.lists(half, min_size=codes, max_size=codes), min_size=rows, max_size=rows)
    return draw(table), draw(table)


class TestRng2:
    """RNG-2 Streams of noise.

    Stream 2m holds the samples of model m, stream 2m + 1 its acceptance draws (the U of v = 0; accept if U < p).
    Model 0 is the target, model 1 drafts for it, model 2 for model 1. A model keeps its number where a decode
    leaves others out. A head that drafts on the target's own grid is model 9, a block drafter model 10. The target
    decides with each (stream, u, attempt) once in a decode. A cell that a sweep leaves undecided draws the same
    noise in the next one, and so does a low-resolution position that is drafted again.
    """

    @given(st.integers(0, 2**16))
    def test_streams(self, model: int) -> None:
        """Stream 2m holds the samples of model m, 2m + 1 its acceptance draws."""
        assert (sample_stream(model), acceptance_stream(model)) == (2 * model, 2 * model + 1)

    @must_reach("the drafter draws the same noise again")
    @example(AHEAD)
    @example(MIXED)
    @share_of_examples(1)
    @given(cases())
    def test_draws(self, case: Case) -> None:
        """Target and drafter draw from their own streams, attempt 0; the target draws once for each position.

        A low-resolution position that is drafted again draws the same noise.
        """
        decode_laws.samples_follow_from_logits(case, case.run(record_logits=True))


class TestRng1:
    """RNG-1 Gumbel-max and its noise.

    A token is drawn by Gumbel-max: the code v that maximises log p_u(v) + g(seed, stream, u, v), ties to the lower
    v. g = float32(-log(-log U)), computed in float64, where U = (x + 0.5) / 2^32 and x is a 32-bit integer: word v
    mod 4 of Philox4x32-10 with counter (v div 4, u, stream, attempt) and key (seed mod 2^32, seed div 2^32).
    `attempt` is 0 except where a rule draws for a cell again (SCHED-5, METHOD-2). The integers are the same on
    every machine, and the noise of a position does not depend on the batch, the order of decoding, the schedule or
    the size of the vocabulary. In an engine, noise is an input of the graph that samples.
    """

    @pytest.mark.parametrize(
        ("seed", "stream", "position", "code", "word", "gumbel"),
        [
            (3, 0, 5, 0, 0xFB1CCD94, 3.948876),
            (3, 0, 5, 511, 0x105E5A87, -1.011533),
            (7 * 2**32 + 9, 2, 1023, 16383, 0x0D22E25B, -1.088495),
        ],
    )
    def test_known_answers(self, seed: int, stream: int, position: int, code: int, word: int, gumbel: float) -> None:
        """The known answers."""
        assert int(random_words(seed, stream, [position], code + 1)[0, code]) == word
        assert round(float(gumbel_noise(seed, stream, [position], code + 1)[0, code]), 6) == gumbel
        assert oracles.word(seed, stream, position, code) == word
        assert round(oracles.gumbel(seed, stream, position, code), 6) == gumbel

    @pytest.mark.parametrize(
        ("counter", "key", "words"),
        [
            ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
            ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
            (
                (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
                (0xA4093822, 0x299F31D0),
                (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
            ),
        ],
    )
    def test_philox(
        self, counter: tuple[int, int, int, int], key: tuple[int, int], words: tuple[int, int, int, int]
    ) -> None:
        """Philox4x32-10 gives the answers that its authors published with it (Random123's kat_vectors)."""
        assert tuple(philox(np.array([counter], dtype=np.uint64), key)[0].tolist()) == words
        assert oracles.philox_words(counter, key) == words

    @must_reach("more than one block", "a part of a block", "both halves of the key")
    @example(2**64 - 1, 0, [0, 2**32 - 1], 6, 0)
    @given(SEEDS, STREAMS, POSITIONS, st.integers(1, 18), ATTEMPTS)
    def test_words(self, seed: int, stream: int, positions: list[int], count: int, attempt: int) -> None:
        """X is word v mod 4 of Philox with counter (v div 4, u, stream, attempt) and key (seed's low, high half)."""
        function_laws.words_follow(seed, stream, positions, count, attempt, random_words)

    @given(SEEDS, STREAMS, POSITIONS, st.integers(1, 18), ATTEMPTS)
    def test_gumbel(self, seed: int, stream: int, positions: list[int], vocabulary: int, attempt: int) -> None:
        """G = float32(-log(-log U)), computed in float64, with U = (x + 0.5) / 2^32."""
        function_laws.gumbel_follows(seed, stream, positions, vocabulary, attempt, gumbel_noise)

    @given(SEEDS, STREAMS, POSITIONS, st.integers(1, 6), ATTEMPTS)
    def test_uniform(self, seed: int, stream: int, positions: list[int], count: int, attempt: int) -> None:
        """U = (x + 0.5) / 2^32, exactly, and so strictly between 0 and 1."""
        result = uniform_noise(seed, stream, positions, count, attempt)
        expected = [
            [(oracles.word(seed, stream, u, code, attempt) + 0.5) / 2**32 for code in range(count)] for u in positions
        ]
        assert result.tolist() == expected
        assert ((result > 0) & (result < 1)).all()

    @must_reach("in another order")
    @example(5, 0, [3, 1, 2], 7, 2)
    @given(
        SEEDS, STREAMS, st.lists(st.integers(0, 4095), min_size=1, max_size=5, unique=True), *[st.integers(1, 18)] * 2
    )
    def test_independence(self, seed: int, stream: int, positions: list[int], vocabulary: int, more: int) -> None:
        """Noise does not depend on batch, order, schedule or vocabulary size."""
        together = gumbel_noise(seed, stream, positions, vocabulary)
        for row, position in enumerate(positions):
            alone = gumbel_noise(seed, stream, [position], vocabulary + more)
            assert torch.equal(together[row], alone[0, :vocabulary])
        ascending = gumbel_noise(seed, stream, sorted(positions), vocabulary)
        assert torch.equal(together[[positions.index(position) for position in sorted(positions)]], ascending)
        reach("in another order", sorted(positions) != positions)

    @must_reach("a tie", "noise changes the choice")
    @example(([[0.0, 1.0, 0.5]], [[1.0, 0.0, 0.5]]))
    @given(scores())
    def test_gumbel_max(self, case: tuple[list[list[float]], list[list[float]]]) -> None:
        """Sampling is Gumbel-max: argmax over v of log p(v) + g(v), ties to the lower v."""
        function_laws.sample_is_first_largest(*case, sample)

    @given(st.integers(max_value=-1) | st.integers(min_value=2**64))
    def test_seeds_have_64_bits(self, seed: int) -> None:
        """The key holds the seed's two halves, so a seed is in 0..2^64 - 1."""
        with pytest.raises(ValueError, match="seed"):
            random_words(seed, 0, [0], 1)

    @share_of_examples(2)
    @given(cases())
    def test_no_other_randomness(self, case: Case) -> None:
        """Nothing else is random: a decode leaves every global generator as it was."""
        before = torch.random.get_rng_state(), random.getstate(), repr(np.random.get_state())
        case.run()
        assert torch.equal(before[0], torch.random.get_rng_state())
        assert before[1:] == (random.getstate(), repr(np.random.get_state()))

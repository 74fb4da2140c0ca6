"""The modes of a decode: one entry tells a mode from the others; the engines' twin of `reference.modes`."""

from collections.abc import Mapping
from typing import Literal

from mulo_sd.engines.decoding_mode import DecodingMode
from mulo_sd.engines.parts import RASTER, Order

Mode = Literal[
    "ar",
    "zipar",
    "serial",
    "parallel",
    "exact",
    "zipar-published",
    "sjd",
    "sjd-gumbel",
    "sjd-maximal",
    "gsd",
    "cool-sd",
    "specdec",
    "pjd",
    "eagle",
    "eagle-tree",
    "lantern",
    "lantern-plus",
    "ssd",
]

MODES: Mapping[Mode, DecodingMode] = {
    "ar": DecodingMode(
        rule="MODE-AR",
        purpose="the target alone, in raster order: one token a pass, or many by sweeps of the same image",
        draft="sweep",
        acceptance="coupled",
        correction="prefix",
    ),
    "zipar": DecodingMode(
        rule="MODE-ZIPAR",
        purpose="rows overlap: a row starts when the one above is `--window` tokens ahead",
        alone=Order(window="window", adaptive="adaptive_window"),
    ),
    "serial": DecodingMode(
        rule="MODE-SERIAL",
        purpose="MuLo-SD as first published: a few rows are drafted, verified and resampled in raster order",
        draft="coarse",
        acceptance="pooled",
        correction="local",
        resampling=RASTER,
        by_rows=True,
    ),
    "parallel": DecodingMode(
        rule="MODE-PARALLEL",
        purpose="MuLo-SD's second version: the whole image is drafted and verified at once, islands of rejections are "
        "resampled at the same time",
        draft="coarse",
        acceptance="pooled",
        correction="local",
    ),
    "exact": DecodingMode(
        rule="MODE-EXACT",
        purpose="lossless: the very image of mode ar, by sweeps that begin with the draft",
        draft="coarse",
        acceptance="coupled",
        correction="prefix",
    ),
    "zipar-published": DecodingMode(
        rule="MODE-UNMASKED",
        purpose="ZipAR as its code is: positions that are not decoded yet are seen, as zeros",
        alone=Order(window="window"),
        sees_zeros=True,
    ),
    "sjd": DecodingMode(
        rule="MODE-SJD",
        purpose="lossless in distribution: speculative Jacobi decoding, the last sweep's samples are the next drafts",
        draft="sweep",
        acceptance="lossless",
        correction="prefix",
    ),
    "sjd-gumbel": DecodingMode(
        rule="MODE-SJD",
        purpose="lossless in distribution: SJD whose drafts share their noise from sweep to sweep",
        draft="sweep",
        acceptance="lossless",
        correction="prefix",
        carry="same",
    ),
    "sjd-maximal": DecodingMode(
        rule="MODE-SJD",
        purpose="lossless in distribution: SJD whose drafts stay from sweep to sweep as often as they can",
        draft="sweep",
        acceptance="lossless",
        correction="prefix",
        carry="coupled",
    ),
    "gsd": DecodingMode(
        rule="MODE-GSD",
        purpose="SJD that accepts a draft token by the probability of its group",
        draft="sweep",
        acceptance="grouped",
        correction="prefix",
    ),
    "cool-sd": DecodingMode(
        rule="MODE-COOLSD",
        purpose="a head's chain of drafts, accepted the more willingly the earlier a token stands in it",
        draft="head",
        acceptance="annealed",
        correction="prefix",
    ),
    "specdec": DecodingMode(
        rule="MODE-SPECDEC",
        purpose="a block of drafts, of which tokens pass that are among the target's best; near greedy decoding",
        draft="block",
        acceptance="top-beta",
        correction="prefix",
    ),
    "pjd": DecodingMode(
        rule="MODE-PJD",
        purpose="SJD in several rows at once: a row opens when the one above holds `--row-lead` tokens",
        draft="sweep",
        acceptance="lossless",
        correction="rows",
        carry="kept",
    ),
    "eagle": DecodingMode(
        rule="MODE-EAGLE",
        purpose="lossless in distribution: a head on the target's hidden states drafts a chain",
        draft="head",
        acceptance="lossless",
        correction="prefix",
    ),
    "eagle-tree": DecodingMode(
        rule="MODE-EAGLE",
        purpose="lossless in distribution: EAGLE-2's tree of drafts, grown where the head is sure",
        draft="tree",
        acceptance="lossless",
        correction="prefix",
    ),
    "lantern": DecodingMode(
        rule="MODE-LANTERN",
        purpose="EAGLE-2's tree, whose tokens are accepted with the probability of codes near them",
        draft="tree",
        acceptance="lantern",
        correction="prefix",
    ),
    "lantern-plus": DecodingMode(
        rule="MODE-LANTERN",
        purpose="LANTERN++: a fixed tree, and a bound on nearby codes that grows with the token's own probability",
        draft="static-tree",
        acceptance="lantern-plus",
        correction="prefix",
    ),
    "ssd": DecodingMode(
        rule="MODE-SSD",
        purpose="whole rounds over the draft: every position keeps its token or draws another, on its own",
        draft="coarse",
        acceptance="lossless",
        correction="rounds",
        carry="coupled",
    ),
}
# Those in which no coarser grid is drafted.
UNDRAFTED_MODES: tuple[Mode, ...] = tuple(name for name, mode in MODES.items() if not mode.drafts)

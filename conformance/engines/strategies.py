"""Decodes of an engine in any mix of settings that its bundle allows."""

import hypothesis.strategies as st

from mulo_sd.conformance.engines.cases import PROMPTS
from mulo_sd.conformance.engines.engine_case import EngineCase
from mulo_sd.conformance.strategies.decodes import SEEDS, TAUS, order_of, parts_of
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.bundle.contract import up_sampler_graph
from mulo_sd.reference.settings import MODES, Mode, Settings, UpSampler


def chains(subject: Subject) -> list[tuple[int, ...]]:
    """Return the chains of drafters that a bundle allows, the longest first."""
    last = len(subject.models.drafters)
    alone: list[tuple[int, ...]] = [(number,) for number in range(1, last + 1)]
    cascade = "cascade" in subject.capabilities
    return [tuple(range(1, last + 1)), *alone] if cascade else alone[:1]


@st.composite
def engine_settings(draw: st.DrawFn, subject: Subject, mode: Mode) -> Settings:
    """Settings of a mode, in any mix; among up- and down-samplers those that the bundle holds for the chain."""
    manifest = subject.pipeline.bundle.manifest
    drafters = draw(st.sampled_from(chains(subject))) if MODES[mode].drafts else (1,)
    ratios = {manifest.scale_ratio(high, low) for high, low in zip((0, *drafters), drafters, strict=False)}
    names: list[UpSampler] = ["bicubic"]
    if "latent" in subject.capabilities and all(
        up_sampler_graph(ratio, "latent") in manifest.graphs for ratio in ratios
    ):
        names.append("latent")
    up_sampler = draw(st.sampled_from(names))
    rows = subject.models.drafters[0].config.grid_height if subject.models.drafters else 1
    return Settings(
        mode=mode,
        guidance_scale=draw(st.sampled_from((1.2, 1.0, 3.0, 0.0) if "guidance" in subject.capabilities else (1.0,))),
        temperature=draw(st.sampled_from((1.0, 0.5, 2.0, 0.0))),
        top_k=draw(st.sampled_from((0, 20, 3))),
        top_p=draw(st.sampled_from((0.95, 1.0, 0.6))),
        drafters=drafters,
        up_sampler=up_sampler,
        down_sampler="latent" if up_sampler == "latent" else "area",
        tau=draw(TAUS),
        radius=draw(st.integers(0, 3)),
        radius_nats=draw(st.sampled_from((0.0, 0.5, 1.0, 2.0))),
        anchor=draw(st.sampled_from((0.0, 4.0, 1.0))),
        neighbours=draw(st.integers(1, min(12, manifest.max_neighbours))),
        draft_rows=draw(st.integers(1, rows + 1)),
        **(order_of(draw) | parts_of(draw, mode)),
    )


@st.composite
def engine_cases(draw: st.DrawFn, subject: Subject, modes: tuple[Mode, ...]) -> EngineCase:
    """Decodes in some of the modes; now and then the coarsest drafter's tokens are given."""
    settings = draw(engine_settings(subject, draw(st.sampled_from(modes))))
    draft = None
    if settings.decoding.drafts and draw(st.integers(0, 3)) == 3:
        config = subject.models.transformer(settings.model_numbers[-1]).config
        cells = config.grid_height * config.grid_width
        draft = tuple(draw(st.lists(st.integers(0, config.vocabulary - 1), min_size=cells, max_size=cells)))
    return EngineCase(subject, draw(st.sampled_from(PROMPTS)), settings, draw(SEEDS), draft)

"""What is compared: every mode and chain of models, and the settings that change what is decided."""

from dataclasses import dataclass, field
from typing import Any

from mulo_sd.reference.settings import Settings

SEED = 5
PROMPTS = (
    "a red circle left of a blue square",
    "three green stars",
    "a triangle",
    "a pink cross and a cyan diamond",
    "a yellow star above a purple circle",
    "two orange squares",
    "a star and a cross",
    "a blue diamond",
)


@dataclass(frozen=True)
class Case:
    """One way to decode.

    Attributes:
        name: For messages.
        changes: Settings that differ from the bundle's.
        prompts: How many of PROMPTS are decoded free-running; the minimal preset sees many more decodes.
        in_half: Whether it is compared in half precision, too; with a pass for nearly every cell that takes long.
        thorough: Whether the profile dev leaves it out.
    """

    name: str
    changes: dict[str, Any] = field(hash=False)
    prompts: int
    in_half: bool = True
    thorough: bool = True

    @property
    def mode(self) -> object:
        """Its mode."""
        return self.changes["mode"]

    @property
    def needs(self) -> set[str]:
        """The capabilities that it takes (engines.backends.base.CAPABILITIES)."""
        chain = self.changes.get("drafters", (1,))
        # A chain that starts with the second drafter, or goes on to it, takes a bundle with two.
        return {str(self.mode), "guidance"} | ({"cascade"} if chain != (1,) else set())


_BY_SWEEPS: dict[str, Any] = {"draft_by": "sweeps", "resample_by": "sweeps", "sweep_width": 64}
CASES = (
    Case("ar", {"mode": "ar"}, 1, in_half=False),
    Case("zipar", {"mode": "zipar"}, 1),
    # A high temperature, at which a row's first token is often predicted otherwise the second time.
    Case(
        "zipar-adaptive",
        {"mode": "zipar", "adaptive_window": True, "window": 1} | {"temperature": 1.3, "top_p": 1.0},
        2,
    ),
    Case("serial", {"mode": "serial", "drafters": (1,)}, 1),
    Case(
        "serial-cascade",
        {"mode": "serial", "drafters": (1, 2), "radius_nats": 0.5, "draft_rows": 6},
        1,
        thorough=False,
    ),
    Case("parallel", {"mode": "parallel", "drafters": (1,)}, 1),
    Case("parallel-coarse", {"mode": "parallel", "drafters": (2,), "accept_on": "raw", "islands": False}, 1),
    Case("parallel-cascade", {"mode": "parallel", "drafters": (1, 2), "radius_nats": 0.3}, 2, thorough=False),
    Case("exact-cascade", {"mode": "exact", "drafters": (1, 2), "temperature": 0.5, **_BY_SWEEPS}, 1, False),
    Case("parallel-swept", {"mode": "parallel", "sweeps": 7, "draft_sweeps": 6, "radius": 1, **_BY_SWEEPS}, 1, False),
)

# Decoded twice, beside another decode: the minimal preset is, in every mode.
REPEATED = tuple(case for case in CASES if case.name in ("zipar-adaptive", "serial-cascade", "parallel-cascade"))
_LOCAL: dict[str, Any] = {"guidance_scale": 1.2, "top_p": 0.95, "tau": 0.2, "neighbours": 8, "draft_rows": 1}
_EXACT: dict[str, Any] = {"guidance_scale": 1.2, "neighbours": 8, "draft_rows": 1, "temperature": 0.3}
_ALONE: dict[str, Any] = {"guidance_scale": 1.0}
# Decodes of the minimal preset that between them meet what the laws are about.
SMALL_SETTINGS = (
    Settings(mode="ar", guidance_scale=1.2, top_p=0.95),
    Settings(mode="ar", guidance_scale=1.0, temperature=0.5, top_k=5, top_p=0.9),
    Settings(mode="ar", temperature=2.0, top_k=6, top_p=0.6),
    Settings(mode="ar", temperature=2.0, top_k=4),
    Settings(mode="zipar", guidance_scale=1.2, window=2),
    Settings(mode="zipar", guidance_scale=1.2, window=1, adaptive_window=True),
    Settings(mode="serial", radius=0, anchor=4.0, accept_on="raw", **_LOCAL),
    Settings(mode="serial", drafters=(1, 2), refresh=True, look_ahead=1, **_LOCAL),
    Settings(mode="serial", drafters=(2,), up_sampler="latent", down_sampler="latent", temperature=0.5, **_LOCAL),
    Settings(mode="serial", radius=0, look_ahead=2, refresh=True, **(_LOCAL | {"tau": 0.02})),
    Settings(mode="parallel", drafters=(1, 2), draft_window=2, island_window=2, radius=1, anchor=4.0, **_LOCAL),
    Settings(mode="parallel", radius=3, radius_nats=1.0, island_window=1, **(_LOCAL | {"tau": 0.05})),
    Settings(mode="parallel", drafters=(2,), radius=0, islands=False, island_window=None, **(_LOCAL | {"tau": 0.02})),
    Settings(mode="parallel", radius=0, anchor=1.0, island_window=3, top_k=8, **(_LOCAL | {"tau": 0.05})),
    Settings(mode="parallel", radius=1, **(_LOCAL | {"tau": 0.0, "top_p": 0.6, "neighbours": 1})),
    Settings(mode="parallel", radius=1, temperature=0.0, **(_LOCAL | {"tau": 1.5})),
    Settings(mode="exact", **_EXACT),
    Settings(mode="exact", drafters=(2,), top_p=0.9, **(_EXACT | {"temperature": 1.0})),
    Settings(mode="exact", refresh=True, **(_EXACT | {"guidance_scale": 0.0, "draft_rows": 3})),
    Settings(mode="exact", drafters=(1, 2), look_ahead=2, **_EXACT),
)
# Without guidance: passes of one row, of a whole window or of the whole grid.
UNGUIDED_SETTINGS = (
    Settings(mode="zipar", window=1, **_ALONE),
    Settings(mode="serial", refresh=True, radius=1, **(_LOCAL | _ALONE | {"draft_rows": 4})),
    Settings(mode="parallel", radius=1, island_window=2, anchor=4.0, **(_LOCAL | _ALONE | {"draft_rows": 2})),
    Settings(mode="exact", refresh=True, **(_EXACT | _ALONE | {"draft_rows": 4})),
)
_SWEPT: dict[str, Any] = {"guidance_scale": 1.2, "temperature": 0.4}  # so cold that guesses come true
_SWEPT_LOCAL: dict[str, Any] = _SWEPT | {"tau": 0.001, "neighbours": 8, "radius": 0}
# Whole grids, drafts, rows and islands by sweeps, with every first guess, narrow and wide, with limits and without.
SWEPT_SETTINGS = (
    Settings(mode="ar", sweep_width=5, first_guess="above", **_SWEPT),
    Settings(mode="ar", sweep_width=None, first_guess="left", **_SWEPT),
    Settings(mode="ar", sweep_width=3, first_guess="opening", **_SWEPT),
    Settings(mode="exact", sweep_width=16, **_SWEPT),
    Settings(mode="exact", drafters=(1, 2), draft_by="sweeps", resample_by="sweeps", sweep_width=4, **_SWEPT_LOCAL),
    Settings(mode="parallel", draft_by="sweeps", draft_sweeps=2, **_SWEPT_LOCAL),
    Settings(mode="serial", draft_by="sweeps", draft_sweeps=2, sweep_width=6, draft_rows=2, **_SWEPT_LOCAL),
    Settings(mode="serial", sweeps=2, sweep_width=3, draft_rows=1, **(_SWEPT_LOCAL | {"tau": 0.02, "radius": 1})),
    Settings(mode="parallel", resample_by="sweeps", sweep_width=2, anchor=2.0, **_SWEPT_LOCAL),
    Settings(mode="parallel", resample_by="sweeps", anchor=2.0, **_SWEPT_LOCAL),
    Settings(mode="parallel", drafters=(1, 2), resample_by="sweeps", sweep_width=1, sweeps=4, **_SWEPT_LOCAL),
    Settings(
        mode="parallel",
        drafters=(1, 2),
        draft_by="sweeps",
        draft_sweeps=2,
        resample_by="sweeps",
        sweeps=2,
        **_SWEPT_LOCAL,
    ),
)
_METHODS: dict[str, Any] = {"guidance_scale": 1.2, "temperature": 0.7, "neighbours": 8}
_TREES: dict[str, Any] = _METHODS | {"tree_depth": 3, "tree_top": 4, "tree_nodes": 14}
# Every method, at sizes at which a small grid has many windows, and combinations of parts that no mode names.
METHOD_SETTINGS = (
    Settings(mode="zipar-published", window=2, **_METHODS),
    Settings(mode="sjd", jacobi_window=6, **_METHODS),
    Settings(mode="sjd-gumbel", jacobi_window=16, first_guess="opening", **_METHODS),
    Settings(mode="sjd-maximal", jacobi_window=7, top_p=0.9, **_METHODS),
    Settings(mode="gsd", jacobi_window=5, group_distance=2.0, **_METHODS),
    Settings(mode="pjd", jacobi_window=4, row_lead=2, first_guess="left", **_METHODS),
    Settings(mode="cool-sd", draft_length=3, anneal=2.0, **_METHODS),
    Settings(mode="eagle", draft_length=4, **_METHODS),
    Settings(mode="eagle", draft_length=2, guidance_scale=1.0, temperature=0.5, top_k=9),
    Settings(mode="eagle-tree", **_TREES),
    Settings(mode="lantern", lantern_neighbours=6, **_TREES),
    Settings(mode="lantern-plus", **_METHODS),
    Settings(mode="specdec", block=6, top_beta=9, top_tau=6.0, **_METHODS),
    Settings(mode="specdec", draft_from="coarse", accept_by="top-beta-sampled", block=6, top_tau=0.7, **_METHODS),
    Settings(mode="ssd", rounds=3, draft_by="rows", jacobi_window=2, row_lead=1, **_METHODS),
    Settings(mode="ssd", drafters=(1, 2), refine_by="rounds", **_METHODS),
    Settings(mode="parallel", accept_by="lantern", lantern_neighbours=6, radius=0, **_METHODS),
    Settings(mode="sjd", accept_by="annealed", anneal=1.5, carry="kept", jacobi_window=6, **_METHODS),
    Settings(mode="sjd", accept_by="typical", typical_threshold=0.05, jacobi_window=6, **_METHODS),
    Settings(mode="eagle", accept_by="pooled", tau=0.4, draft_length=4, **_METHODS),
    Settings(mode="eagle", accept_by="coupled", draft_length=4, **_METHODS),
)
# Those that the laws judge beside what Hypothesis draws, and in which mutants are looked for.
JUDGED_SETTINGS = (*SMALL_SETTINGS, *UNGUIDED_SETTINGS, *SWEPT_SETTINGS[::2], *METHOD_SETTINGS)

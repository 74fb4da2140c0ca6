"""What is compared: every mode and chain of models, and the settings that change what is decided."""

from dataclasses import dataclass, field

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
        prompts: How many of PROMPTS are decoded free-running; slow modes get few.
    """

    name: str
    changes: dict[str, object] = field(hash=False)
    prompts: int

    @property
    def mode(self) -> object:
        """Its mode."""
        return self.changes["mode"]


CASES = (
    Case("ar", {"mode": "ar"}, 2),
    Case("zipar", {"mode": "zipar"}, 5),
    # A high temperature, at which a row's first token is often predicted otherwise the second time.
    Case(
        "zipar-adaptive",
        {"mode": "zipar", "adaptive_window": True, "window": 1} | {"temperature": 1.3, "top_p": 1.0},
        5,
    ),
    Case("serial", {"mode": "serial", "drafters": (1,)}, 3),
    Case("serial-coarse", {"mode": "serial", "drafters": (2,), "refresh": True, "tau": 0.05, "anchor": 0.0}, 2),
    Case("serial-cascade", {"mode": "serial", "drafters": (1, 2), "radius_nats": 0.5, "draft_rows": 6}, 2),
    Case("parallel", {"mode": "parallel", "drafters": (1,)}, 4),
    Case("parallel-coarse", {"mode": "parallel", "drafters": (2,), "accept_on": "raw", "islands": False}, 3),
    Case("parallel-cascade", {"mode": "parallel", "drafters": (1, 2), "radius_nats": 0.3}, 4),
    Case("exact", {"mode": "exact", "drafters": (1,), "exact_window": 16, "temperature": 0.7}, 1),
    Case("exact-cascade", {"mode": "exact", "drafters": (1, 2), "exact_window": 8, "temperature": 0.5}, 1),
)

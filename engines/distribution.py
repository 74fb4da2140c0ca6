"""What a token is drawn from, given logits: guidance, temperature, top-k and top-p (DIST-1)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Distribution:
    """How logits become p_u (DIST-1); the fields are the settings of the same names."""

    guidance_scale: float = 1.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def raw(self) -> "Distribution":
        """Return p without temperature and filters: the guided softmax (DIST-2)."""
        return Distribution(self.guidance_scale)

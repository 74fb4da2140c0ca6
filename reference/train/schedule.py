"""The learning-rate schedule of all models: a short warm-up, a plateau, a linear decay to zero."""

DECAY_SHARE = 0.4  # of the steps


def rate_at(step: int, steps: int, warm_up: int = 50, decay_share: float = DECAY_SHARE) -> float:
    """Return the factor in (0, 1] for the learning rate at `step` of `steps`."""
    decay_from = steps * (1 - decay_share)
    rising = (step + 1) / warm_up
    falling = (steps - step) / max(1.0, steps - decay_from)
    return max(0.0, min(1.0, rising, falling))

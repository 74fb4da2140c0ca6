"""How many decisions may differ from the reference's by chance.

A correct graph decides otherwise at near-ties. Where that happens to a share of at most `rate` of the decisions, the
number among n independent ones is binomial: X ~ Binomial(n, rate). A graph is refused where so many differ that X
exceeds as many with a probability of FALSE_ALARM at most; so a correct graph is refused with no larger one, however few
decisions there are.
"""

from scipy.special import bdtrc

# The probability that a correct graph is refused over one count.
FALSE_ALARM = 1e-5


def false_alarm(allowed: int, count: int, rate: float) -> float:
    """Return the probability that more than `allowed` of `count` decisions differ where each does with `rate`."""
    return float(bdtrc(allowed, count, rate)) if allowed < count else 0.0


def max_allowed(count: int, rate: float) -> int:
    """Return how many of `count` decisions may differ: the smallest number that chance exceeds too rarely to matter."""
    allowed = 0
    while false_alarm(allowed, count, rate) > FALSE_ALARM:
        allowed += 1
    return allowed

"""The demo world: captioned scenes, their evaluator, and the models trained on them."""

from reference.demo.models import condition, load

__all__ = ["condition", "load"]

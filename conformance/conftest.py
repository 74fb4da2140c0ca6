"""Hypothesis profiles: dev by default, ci where CI is set, nightly on request (--hypothesis-profile=nightly)."""

import os

import pytest
import torch
from hypothesis import settings

LAWS = ("cycle_laws", "decode_laws", "function_laws", "replay", "resampling_laws")
pytest.register_assert_rewrite(*(f"conformance.rules.{name}" for name in LAWS))

# No deadline anywhere: the first case of a run pays for imports.
settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=2000, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# One token a pass keeps one core busy; threads of several test processes would only wait for each other.
torch.set_num_threads(1)

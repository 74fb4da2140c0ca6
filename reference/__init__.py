"""The executable specification of MuLo-SD, in eager PyTorch."""

import mulo_sd  # noqa: F401  (a command finds these packages beside it, whatever its folder holds)

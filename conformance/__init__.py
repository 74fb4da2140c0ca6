"""Python suite that an optimised path behaves as the reference does."""

import mulo_sd  # noqa: F401  (a command finds these packages beside it, whatever its folder holds)

"""The executable specification of MuLo-SD, in eager PyTorch."""

import mulo_sd  # noqa: F401  (Ctrl-C during the imports of a command)

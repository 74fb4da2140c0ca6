"""Python suite that an optimised path behaves as the reference does."""

import mulo_sd  # noqa: F401  (Ctrl-C during the imports of a command)

"""The executable specification of MuLo-SD, in eager PyTorch."""

import mulo_sd  # noqa: F401  (Ctrl-C during the imports of a command)
from mulo_sd.processes import hide_folder_triton

hide_folder_triton()  # here, since every process that computes by torch comes by: commands, their workers, and tests

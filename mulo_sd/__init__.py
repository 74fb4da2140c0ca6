"""MuLo-SD: multi-scale local speculative decoding. The one package that is installed; its parts are its sub-packages.

In a checkout they lie beside this folder (`engines/` and so on) and are linked into it. So `mulo_sd.engines` is one
module under one name wherever it comes from: an installed wheel, a checkout, or `python -m engines.generate` there.
"""

from mulo_sd.interruption import end_early_errors_in_a_line, module_that_starts

if (_module := module_that_starts()) is not None:
    end_early_errors_in_a_line(_module)

"""Run an exported graph on ONNX Runtime's CPU provider."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from mulo_sd.engines.bundle.contract import updated_cache
from mulo_sd.export.comparison import Runner


def onnx_runner(onnx_file: Path) -> Runner:
    """Return what runs a graph: flat inputs to outputs by name; keys and values are updated where they lie."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A few passes, of what may be a large model: no second copy of its weights, and no memory kept for later ones.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(onnx_file, sess_options=options, providers=["CPUExecutionProvider"])
    output_names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: np.ascontiguousarray(value.numpy()) for name, value in inputs.items()}
        caches = {name: value for name, value in arrays.items() if updated_cache(name) in output_names}
        binding = session.io_binding()
        for name, value in arrays.items():
            if name not in caches:
                binding.bind_cpu_input(name, value)
        for name, value in caches.items():  # keys and values are written where they are, as the engines do it
            location = ("cpu", 0, value.dtype, value.shape, value.ctypes.data)
            binding.bind_input(name, *location)
            binding.bind_output(updated_cache(name), *location)
        in_place = {updated_cache(name): value for name, value in caches.items()}
        others = [name for name in output_names if name not in in_place]
        for name in others:
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding)
        bound = [*in_place, *others]
        outputs = {
            name: item.numpy() for name, item in zip(bound, binding.get_outputs(), strict=True) if name in others
        }
        return {name: torch.from_numpy(value) for name, value in (outputs | in_place).items()}

    return run

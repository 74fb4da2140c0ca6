"""What TensorRT for RTX says of a plan's header: one more answer, and no plan is loaded for it.

Without a driver it knows only what is no plan of its own; any other header it calls invalid without a reason, from
which nothing follows. GPUs that it is not made for it calls unsupported even where plans run: then loading tells.
"""

import importlib
from typing import Any

from mulo_sd.engines.backends.base import one_line
from mulo_sd.engines.backends.verdicts import Outcome, Verdict
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import PLAN_PACKAGES
from mulo_sd.engines.bundle.entries import PlanEntry

# What it gives as a reason, one bit each; the first that is set decides.
REASONS = (
    ("MALFORMED_ENGINE", Outcome.REBUILD, "is not what it takes for a plan"),
    ("VERSION_MISMATCH", Outcome.REBUILD, "was built with another version of it"),
    ("OLD_CUDA_DRIVER", Outcome.CANNOT, "needs a newer NVIDIA driver"),
    ("OLD_CUDA_RUNTIME", Outcome.CANNOT, "needs a newer CUDA runtime"),
    ("CUDA_ERROR", Outcome.CANNOT, "cannot be judged: CUDA or its driver is not installed as it should be"),
    ("INSUFFICIENT_GPU_MEMORY", Outcome.CANNOT, "has weights that do not fit into the GPU's memory"),
    ("UNSUPPORTED_CC", Outcome.UNKNOWN, "was not built for a GPU of this compute capability"),
)


class HeaderCheck:
    """Asks TensorRT for RTX of plans' headers, through one runtime for all of them."""

    def __init__(self) -> None:
        self.runtime: Any = None

    def __call__(self, bundle: Bundle, plan: PlanEntry) -> Verdict | None:
        """Return a verdict where TensorRT for RTX objects to a plan, None where it does not or gives no reason."""
        if plan.backend != "trt-rtx":
            return None
        try:
            trt: Any = importlib.import_module(PLAN_PACKAGES[plan.backend])
            if self.runtime is None:
                self.runtime = trt.Runtime(_silent(trt))
            with bundle.file(plan.file).open("rb") as file:
                header = file.read(int(self.runtime.engine_header_size))
            validity, bits = self.runtime.get_engine_validity(header)
        except Exception as error:  # the bindings raise classes of their own: no answer, and the fields' stands
            return Verdict(Outcome.UNKNOWN, f"TensorRT for RTX does not read its header: {one_line(error)}")
        if validity != trt.EngineValidity.INVALID:
            return None
        for name, outcome, reason in REASONS:
            if int(bits) & int(getattr(trt.EngineInvalidityDiagnostics, name)):
                rebuild = ("--backend", plan.backend) if outcome is Outcome.REBUILD else ()
                return Verdict(outcome, f"TensorRT for RTX says that it {reason}", rebuild)
        return None


def _silent(trt: Any) -> Any:
    """Return a logger that prints nothing: what it would say is in the answer."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the runtime has no type stubs
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            pass

    return Logger()

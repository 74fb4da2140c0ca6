"""CUDA graphs of TensorRT proper: a run whose shapes and addresses are repeated is captured, and launched as one."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from mulo_sd.engines.backends.base import BackendError, one_line
from mulo_sd.engines.backends.tensorrt.context import Bindings, Context
from mulo_sd.engines.backends.tensorrt.cuda import CapturedGraph
from mulo_sd.engines.backends.tensorrt.runtime import Runtime

# A capture costs a context, and what comes twice may never come again.
RUNS_BEFORE = 2
MAX_CAPTURED = 16
MAX_SEEN = 256


class Captures:
    """The captured runs of one plan.

    Each has a context of its own: what a context keeps for the shapes that were last set is part of the capture.
    """

    def __init__(self, runtime: Runtime, graph: str) -> None:
        self.runtime, self.graph = runtime, graph
        self.generation = -1
        self.captured: OrderedDict[Hashable, tuple[CapturedGraph, Context]] = OrderedDict()
        self.seen: OrderedDict[Hashable, int] = OrderedDict()
        self.failed = False

    def run(self, bindings: Bindings, generation: int, make: Callable[[], Context]) -> bool:
        """Launch the capture of some bindings, or make one if they came often; return whether the run was done.

        Args:
            bindings: Profile, shapes and addresses.
            generation: The activations'; captures of an earlier one hold an address that was freed.
            make: Returns a new context for the profile.
        """
        if self.failed:
            return False
        if generation != self.generation:
            self.captured.clear()
            self.generation = generation
        if bindings in self.captured:
            self.captured.move_to_end(bindings)
            self.runtime.cuda.launch(self.captured[bindings][0])
            return True
        count = self.seen[bindings] = self.seen.pop(bindings, 0) + 1
        if len(self.seen) > MAX_SEEN:
            self.seen.popitem(last=False)
        return count > RUNS_BEFORE and self._capture(bindings, make)

    def _capture(self, bindings: Bindings, make: Callable[[], Context]) -> bool:
        context = make()
        context.bind(bindings)
        context.execute()  # the run itself: a capture runs nothing, and needs an earlier run of the same shapes
        try:
            graph = self.runtime.cuda.capture(context.execute)
        except BackendError as error:
            self.failed = True
            self.runtime.note(f"graph {self.graph}: runs without CUDA graphs: {one_line(error)}")
            return True
        self.captured[bindings] = graph, context
        if len(self.captured) > MAX_CAPTURED:
            self.captured.popitem(last=False)
        return True

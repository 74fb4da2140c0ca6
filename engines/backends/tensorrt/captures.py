"""CUDA graphs of TensorRT proper: a pass whose shapes and addresses come again is launched as one."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from mulo_sd.engines.backends.base import BackendError, one_line
from mulo_sd.engines.backends.tensorrt.context import Context, Layout
from mulo_sd.engines.backends.tensorrt.cuda import CapturedGraph
from mulo_sd.engines.backends.tensorrt.runtime import Runtime

# A capture costs a context; what comes twice may never come again.
RUNS_BEFORE = 2
MAX_CAPTURED = 16
MAX_SEEN = 256


class Captures:
    """The captured runs of one plan.

    Each has a context of its own: what a context keeps for the shapes that it was last told is part of the capture.
    """

    def __init__(self, runtime: Runtime, graph: str) -> None:
        self.runtime, self.graph = runtime, graph
        self.generation = -1
        self.captured: OrderedDict[Hashable, tuple[CapturedGraph, Context]] = OrderedDict()
        self.seen: OrderedDict[Hashable, int] = OrderedDict()
        self.failed = False

    def run(self, layout: Layout, generation: int, make: Callable[[], Context]) -> bool:
        """Run a layout if it was captured, or capture it if it came often; say whether it was run.

        Args:
            layout: Profile, shapes and addresses.
            generation: Of the activations; captures of another one hold an address that is gone.
            make: Returns a context of its own for the layout's profile.
        """
        if self.failed:
            return False
        if generation != self.generation:
            self.captured.clear()
            self.generation = generation
        if layout in self.captured:
            self.captured.move_to_end(layout)
            self.runtime.cuda.launch(self.captured[layout][0])
            return True
        count = self.seen[layout] = self.seen.pop(layout, 0) + 1
        if len(self.seen) > MAX_SEEN:
            self.seen.popitem(last=False)
        return count > RUNS_BEFORE and self._capture(layout, make)

    def _capture(self, layout: Layout, make: Callable[[], Context]) -> bool:
        context = make()
        context.tell(layout)
        context.execute()  # this time's work: a capture does none, and comes after a run of the same shapes
        try:
            graph = self.runtime.cuda.capture(context.execute)
        except BackendError as error:
            self.failed = True
            self.runtime.note(f"graph {self.graph}: runs without CUDA graphs: {one_line(error)}")
            return True
        self.captured[layout] = graph, context
        if len(self.captured) > MAX_CAPTURED:
            self.captured.popitem(last=False)
        return True

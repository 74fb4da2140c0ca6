"""Workers: threads that decode side by side over one backend; each shares passes among decodes of its own.

On a processor of several cores a pass of few tokens gains little from a second thread, and a decode's own work nothing.
Workers whose passes take one thread each leave no core waiting; they read the same weights.
"""

from collections.abc import Callable

from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.passes.shared_passes import SharedPasses


class Workers:
    """Places of decodes, dealt in turn to so many shared passes, each with a thread of its own."""

    def __init__(self, backend: Backend, places: int, count: int, initializer: Callable[[], object]) -> None:
        """Prepare for decodes.

        Args:
            backend: Of all of them; called by several threads at once where there are several.
            places: How many decodes may run at once, at least `count`.
            count: How many workers.
            initializer: Called first in every thread that is made for them.
        """
        own = [len(range(number, places, count)) for number in range(count)]
        self.shared = [SharedPasses(backend, mine, initializer) for mine in own]

    def at(self, place: int) -> tuple[SharedPasses, int]:
        """Return the passes that a place takes part in, and its number among theirs; neighbours work side by side."""
        return self.shared[place % len(self.shared)], place // len(self.shared)

    @property
    def passes(self) -> int:
        """Passes made so far."""
        return sum(shared.passes for shared in self.shared)

    def close(self) -> None:
        """Wait for all decodes, and give back what they hold."""
        for shared in self.shared:
            shared.close()

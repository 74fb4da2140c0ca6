"""The options of a run of images on a cluster, and where its actors go."""

from dataclasses import dataclass

from mulo_sd.engines.numbers import real_number, whole_number

MAX_ACTORS = 4096


@dataclass(frozen=True)
class ActorOptions:
    """What an actor draws with, beside the bundle.

    Attributes:
        backend: As for `load`, like the text model.
        threads: CPU threads of a pass; None is as many as the actor's CPUs, since actors share a machine's cores.
        text_model: Folder or name, on the actor's machine.
    """

    backend: str = "ort"
    threads: int | None = None
    text_model: str | None = None


@dataclass(frozen=True)
class BatchOptions:
    """How a run is spread over a cluster.

    Attributes:
        ray_address: "auto" or HOST:PORT of a running cluster; None begins one of this machine.
        actors: Processes that draw, at most; None is as many as there is room for.
        cpus_each: CPUs that Ray sets aside for each.
        gpus_each: GPUs that Ray sets aside for each.
    """

    ray_address: str | None = None
    actors: int | None = None
    cpus_each: float = 1.0
    gpus_each: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            SettingsError: one is out of its range.
        """
        if self.actors is not None:
            whole_number("actors", self.actors, 1, MAX_ACTORS)
        real_number("cpus-each", self.cpus_each, 0, 4096)
        real_number("gpus-each", self.gpus_each, 0, 64)

    @property
    def threads_each(self) -> int:
        """CPU threads of an actor's pass, where nobody says otherwise."""
        return max(1, int(self.cpus_each))

    def actors_in(self, resources: dict[str, float]) -> int:
        """Return how many actors to ask for in a cluster of some resources; where that has no room, at least one."""
        rooms = {
            name: int(resources.get(name, 0) / each)
            for name, each in (("CPU", self.cpus_each), ("GPU", self.gpus_each))
            if each > 0
        }
        asked = self.actors if self.actors is not None else max(1, min(rooms.values(), default=1))
        return min(asked, MAX_ACTORS)


def images_a_block(missing: int, actors: int, batch: int) -> int:
    """Return how many images an actor is given at a time.

    Few, so that progress is seen and the actors end together; enough for a batch; and no more than 2,000 blocks.
    """
    return max(min(-(-missing // (4 * actors)), 4 * batch), min(batch, missing), -(-missing // 2000))

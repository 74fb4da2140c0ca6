"""What engine replicas and ingresses tell each other."""

from collections.abc import Callable
from dataclasses import dataclass

from mulo_sd.engines.bundle import Manifest
from mulo_sd.engines.http.engine import Card, Drawn
from mulo_sd.engines.service.steps import Step


@dataclass(frozen=True)
class Offer:
    """What an ingress has to know of a bundle that it does not open.

    Attributes:
        card: What the bundle draws.
        manifest: Of the bundle; settings are held against it.
        models: Hash of the bundle's models: images of another are others.
        check: Of a prompt; None where only an engine replica can check it, since that needs a text model.
    """

    card: Card
    manifest: Manifest
    models: str
    check: Callable[[str], None] | None


@dataclass(frozen=True, eq=False)
class Progress:
    """Steps of a decode since the last message.

    Attributes:
        steps: In order.
    """

    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Ended:
    """The end of a decode.

    Attributes:
        drawn: The image, without steps, which came before it.
        kept: Numbers of the steps that belong to the image; others were thinned out meanwhile.
    """

    drawn: Drawn
    kept: tuple[int, ...]


class OtherModelsError(RuntimeError):
    """The replica holds other models under this name than the request was checked against: an update is under way."""

"""The images that a process goes through while others go through the same ones."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from mulo_sd.engines.commands.image_claims import Claims

Image = TypeVar("Image")

# Steps of the golden section spread any number of processes evenly, without knowing how many there are.
STEP = 0.618


class SharedWork(Generic[Image]):
    """Images of which none is given out that another process draws or has drawn meanwhile."""

    def __init__(
        self,
        claims: Claims,
        images: Iterable[Image],
        name_of: Callable[[Image], str],
        is_drawn: Callable[[Image], bool],
    ) -> None:
        """Begin with images in the order of the run.

        Args:
            claims: Of the run's folder.
            images: What was missing when this process looked.
            name_of: Returns an image's name, which is claimed.
            is_drawn: Returns whether an image is there; called while it is claimed.
        """
        self._claims, self._name_of, self._is_drawn = claims, name_of, is_drawn
        self._left = deque(images)
        self._elsewhere: deque[Image] = deque()  # claimed by others when this process last asked

    def __bool__(self) -> bool:
        """Whether there are images that are neither given out nor known to be drawn."""
        return bool(self._left or self._elsewhere)

    def take(self) -> Image | None:
        """Claim an image that is not drawn; None where others have claimed all that are left, just now.

        Where another process is at work already, this one goes on far from there, so that they meet rarely.
        """
        while self._left:
            image = self._left.popleft()
            name = self._name_of(image)
            if not self._claims.take(name):
                self._elsewhere.append(image)
                self._left.rotate(-int(STEP * len(self._left)))
            elif self._is_drawn(image):
                self._claims.release(name)
            else:
                return image
        self._left, self._elsewhere = self._elsewhere, self._left
        return None

    def give_back(self, image: Image) -> None:
        """Give up the claim of an image that is drawn, or cannot be drawn by this process."""
        self._claims.release(self._name_of(image))

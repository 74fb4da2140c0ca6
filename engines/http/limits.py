"""How much a service takes: of a request, at once, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of a service.

    Attributes:
        places: Images that are drawn at once, of each model.
        queue: Images that may wait beyond those, of each model.
        open_requests: For images, those that join the same one included.
        deadline: Seconds in which a request has its answer.
        body_bytes: Of a request's body.
        body_seconds: In which it has to come.
        prompt_characters: Of a prompt.
        kept_seconds: How long an image is kept for who asks again, or fetches it by URL.
        kept_bytes: Of all images that are kept; a half each.
        urls: Whether images can be fetched by URL.
    """

    places: int = 4
    queue: int = 64
    open_requests: int = 1000
    deadline: float = 120.0
    body_bytes: int = 2**18
    body_seconds: float = 30.0
    prompt_characters: int = 4000
    kept_seconds: float = 300.0
    kept_bytes: int = 2**28
    urls: bool = True

"""What is done for a request of a session: its prompt is described, it is decoded, its image is made."""

import time

from mulo_sd.engines.loop.decode import Decoded
from mulo_sd.engines.passes.decodes_backend import DecodesBackend
from mulo_sd.engines.passes.shared_passes import SharedPasses
from mulo_sd.engines.service.request import Request
from mulo_sd.engines.service.result import Prepared, Result
from mulo_sd.engines.service.stages import Stages


def prepared_of(pipeline: Stages, request: Request) -> Prepared:
    """Check a request's order, and describe its prompt.

    Raises:
        Exception: as `Pipeline.draw`.
    """
    order = request._order
    return pipeline.prepare(order.prompt, order.seed, order.mode, order.plan, **order.changes)


def decoded_of(pipeline: Stages, shared: SharedPasses, place: int, request: Request) -> tuple[Prepared, Decoded]:
    """Decode a request at a place of the shared passes; a condition in numbers is prepared here.

    Raises:
        CancelledError, DeadlineError: it is to end.
        Exception: as `Pipeline.draw`.
    """
    request._check()
    prepared = request._prepared or prepared_of(pipeline, request)
    request._begun_at = time.monotonic()
    decoded = pipeline.decode(
        prepared.described.condition,
        prepared.settings,
        prepared.seed,
        request._order.draft,
        hooks=request._hooks,
        backend=DecodesBackend(shared, place, request._check),
    )
    return prepared, decoded


def image_of(pipeline: Stages, request: Request, prepared: Prepared, decoded: Decoded, started: float) -> Result:
    """Make a request's image.

    Raises:
        CancelledError, DeadlineError: it is to end.
        BackendError: the decoder answers with no image.
    """
    request._check()
    result = pipeline.finish(prepared, decoded, started)
    request._check()
    return result

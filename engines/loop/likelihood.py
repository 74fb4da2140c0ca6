"""What the target thinks of a finished image: the log-probability of each of its tokens, in one pass."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.loop.state import ModelState, Tokens
from mulo_sd.engines.loop.verify import judge
from mulo_sd.engines.rules.trace import Trace
from mulo_sd.engines.settings import Settings

SMALLEST = 1e-30  # a probability of 0 in float32 is at most this


def token_log_probs(
    bundle: Bundle, backend: Backend, condition: Condition, settings: Settings, tokens: Tokens
) -> NDArray[np.float64]:
    """Return log p of each token given those before it, Float64[H, W], in nats.

    p is the guided softmax without temperature and filters (DIST-2, "raw"), so that no token has probability 0.

    Args:
        bundle: Opened and checked.
        backend: Runs its graphs.
        condition: What the image is of.
        settings: For their guidance.
        tokens: Int[H, W].
    """
    entry = bundle.manifest.target
    null = bundle.null_conditions[0]
    state = ModelState(backend, entry, 0, condition, null, settings, 0, Trace(), record_logits=False)
    cells = range(tokens.size)
    state.propose(cells, tokens.ravel())
    own = np.ascontiguousarray(bundle.neighbours[:, :1])
    probs = judge(state, state.query(cells), tokens.ravel(), own, raw=True).pooled_probs
    return np.log(np.maximum(probs.astype(np.float64), SMALLEST)).reshape(tokens.shape)

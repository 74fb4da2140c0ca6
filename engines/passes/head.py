"""Passes of the head that drafts from the target's hidden states."""

import numpy as np

from mulo_sd.engines.backends.base import Floats, Scores
from mulo_sd.engines.passes.cached import NO_TOKENS, CachedPasses, Tokens


class HeadSession(CachedPasses):
    """The head in one decode: reads the hidden state before a token beside the token.

    Its entry is `Manifest.head`; its batch the target's.
    """

    def feed(self, positions: Tokens, tokens: Tokens, features: Floats, parents: Tokens = NO_TOKENS) -> Scores:
        """Feed tokens, each with the hidden state of the one before; return the scores of what follows each.

        Args:
            positions: Int64[T], in the sequence: prefix first, never 0. Of ordinary tokens distinct.
            tokens: Int64[T]; 0 for one of the prefix. Ordinary ones, then nodes of a tree.
            features: Float32[B, T, dim], the target's hidden states, or this head's own (`hidden_of`).
            parents: Int64[m], of the last m tokens, which are nodes (`rules.branches.Tree`). Nodes live until ordinary
                tokens are fed again, so a tree may be fed layer by layer.
        """
        return self.run_pass(tokens, positions, {"features": np.ascontiguousarray(features)}, parents=parents)

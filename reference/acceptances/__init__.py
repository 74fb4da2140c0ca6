"""Which draft tokens stay, and what is drawn in place of the others (METHOD-1): one rule a file.

A rule is a pure function of p and q: (probs Float64[n, V], draft_probs Float64[n, V], drafts Int[n], places Int[n],
settings, codes) -> `Accepted`. A draft that is certain has a row of `draft_probs` that is 1 at its token. `places` says
where in its window each draft stands, from 0 on.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from mulo_sd.reference.acceptances.accepted import Accepted
from mulo_sd.reference.acceptances.lossless import lossless
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.settings import Settings

__all__ = ["ACCEPTANCES", "Accepted", "Acceptor"]

Acceptor = Callable[[Tensor, Tensor, Tensor, Tensor, Settings, Codes], Accepted]

# By the setting `accept_by`; "coupled" has no chances: a draft token stays where its cell's noise draws it (SWEEP-2).
ACCEPTANCES: Mapping[str, Acceptor] = {"lossless": lossless}

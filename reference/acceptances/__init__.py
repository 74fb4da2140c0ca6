"""Which draft tokens stay, and what is drawn in place of the others (METHOD-1): one rule a file.

A rule is a pure function of p and q: (probs Float64[n, V], draft_probs Float64[n, V], drafts Int[n], places Int[n],
settings, codes) -> `Accepted`. A draft that is certain has a row of `draft_probs` that is 1 at its token. `places` says
where in its window each draft stands, from 0 on.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from mulo_sd.reference.acceptances.accepted import Accepted
from mulo_sd.reference.acceptances.annealed import annealed
from mulo_sd.reference.acceptances.grouped import grouped
from mulo_sd.reference.acceptances.lantern import lantern, lantern_plus
from mulo_sd.reference.acceptances.lossless import lossless
from mulo_sd.reference.acceptances.pooled import pooled
from mulo_sd.reference.acceptances.top_beta import top_beta, top_beta_sampled
from mulo_sd.reference.acceptances.typical import typical
from mulo_sd.reference.codebook import Codes
from mulo_sd.reference.settings import Settings

__all__ = ["ACCEPTANCES", "Accepted", "Acceptor"]

Acceptor = Callable[[Tensor, Tensor, Tensor, Tensor, Settings, Codes], Accepted]

# By the setting `accept_by`; "coupled" has no chances: a draft token stays where its cell's noise draws it (SWEEP-2).
ACCEPTANCES: Mapping[str, Acceptor] = {
    "pooled": pooled,
    "lossless": lossless,
    "grouped": grouped,
    "annealed": annealed,
    "lantern": lantern,
    "lantern-plus": lantern_plus,
    "top-beta": top_beta,
    "top-beta-sampled": top_beta_sampled,
    "typical": typical,
}
# Those that draw nothing: where no draft is kept stands the target's best code.
GREEDY = frozenset({"top-beta"})

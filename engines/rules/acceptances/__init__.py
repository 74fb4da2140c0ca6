"""Which draft tokens stay, and what replaces the others, one rule a file; twin of `reference.acceptances`."""

from collections.abc import Callable, Mapping

from mulo_sd.engines.rules.acceptances.accepted import Accepted, Codes, Probs, Tokens
from mulo_sd.engines.rules.acceptances.annealed import annealed
from mulo_sd.engines.rules.acceptances.grouped import grouped
from mulo_sd.engines.rules.acceptances.lantern import lantern, lantern_plus
from mulo_sd.engines.rules.acceptances.lossless import lossless
from mulo_sd.engines.rules.acceptances.pooled import pooled
from mulo_sd.engines.rules.acceptances.top_beta import top_beta, top_beta_sampled
from mulo_sd.engines.rules.acceptances.typical import typical
from mulo_sd.engines.settings import Settings

__all__ = ["ACCEPTANCES", "Accepted", "Acceptor"]

Acceptor = Callable[[Probs, Probs, Tokens, Tokens, Settings, Codes], Accepted]

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

"""What a row keeps of a decode: passes by model and tokens fed, as its trace has them."""

import numpy as np
from PIL import Image

from mulo_sd import engines
from mulo_sd.conformance.study.draw import figures_of
from mulo_sd.engines.rules.trace import Pass, Trace, TreeSpeculation
from mulo_sd.engines.service.result import stats_of


def passed(model: int, count: int) -> Pass:
    return Pass(model, np.arange(count), np.arange(count))


def tree_of(nodes: int) -> TreeSpeculation:
    numbers = np.arange(nodes)
    nothing = np.zeros(nodes, dtype=np.bool_)
    return TreeSpeculation(0, numbers, numbers - 1, numbers, numbers, np.zeros(nodes), nothing, numbers[:1])


def test_passes_and_fed_tokens_are_those_of_the_trace() -> None:
    """A tree's nodes are fed as well, and stand beside a pass's tokens; what a drafter is fed does not count."""
    trace = Trace([passed(0, 12), passed(9, 3), passed(0, 2), passed(1, 40)])
    trace.passes[2].trees.append(tree_of(5))
    result = engines.Result(
        image=Image.new("RGB", (4, 4)),
        tokens=np.zeros((2, 2), dtype=np.int64),
        plan=None,
        settings=engines.Settings(),
        trace=trace,
        stats=stats_of(trace, 1.5),
    )
    figures = figures_of(result)
    assert figures["nfe_by_model"] == {"0": 2, "9": 1, "1": 1}
    assert (figures["nfe_target"], figures["nfe_drafter"], figures["seconds"]) == (2, 2, 1.5)
    assert figures["fed_target"] == 12 + 2 + 5

"""What the rules say about trees of drafts (METHOD-6), each checked on a decode's trace."""

import math
from collections import Counter
from itertools import pairwise, product

from mulo_sd.conformance.rules import acceptance_oracles, oracles
from mulo_sd.conformance.rules.branches import NEAR_TIE, reach
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.conformance.rules.decode_laws import near_processed, processed, recorded
from mulo_sd.conformance.rules.drawing import codebook_of, hangs_on_rounding, may_be_drawn, may_have_chance
from mulo_sd.conformance.rules.replay import HEAD, told_of
from mulo_sd.conformance.rules.speculating import TreeJudged
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.trace import Pass

# Scores of branches that are nearer than so many roundings may come in either order.
NEAR_SCORES = 50
Node = tuple[int, int, int, float]  # token, parent, depth, sum of log q


def trees_are_walked(case: DecodeCase, decoded: Decoded) -> None:
    """METHOD-6, ACCEPT-2, ACCEPT-5, ACCEPT-6: siblings one after the other, from the root down."""
    for item in told_of(case, decoded, 0).trees:
        if item.told.logits is None:
            continue
        walk(case, item)


def walk(case: DecodeCase, item: TreeJudged) -> None:
    """Walk a tree as the rule says, and hold what the trace tells of it against that."""
    told, logits = item.told, item.told.logits
    assert logits is not None
    tokens, parents, decided = told.tokens.tolist(), told.parents.tolist(), told.decided.tolist()
    judged = list(zip(told.judged.tolist(), told.chances.tolist(), told.kept.tolist(), strict=True))
    node = -1
    for depth, (cell, token) in enumerate(zip(item.cells, decided, strict=True)):
        likely = near_processed(case, logits[:, node + 1])
        children = [child for child, parent in enumerate(parents) if parent == node]
        stays, tried = -1, list[int]()
        for index, child in enumerate(children):
            assert judged, f"cell {cell}: draft {tokens[child]} is not judged"
            told_child, chance, kept = judged.pop(0)
            assert told_child == child, f"cell {cell}: judges node {told_child}, expected {child}"
            likely = hold_sibling(case, item, child, (depth, index), likely, tried, (chance, kept))
            tried.append(tokens[child])
            reach("a later sibling stays", kept and index > 0)
            if kept:
                stays = child
                break
        is_last = depth == len(item.cells) - 1
        if stays >= 0:
            assert token == tokens[stays], f"cell {cell}: decides {token}, expected the draft that stays"
        else:
            assert is_last, f"cell {cell}: no draft stays, and the walk goes on"
            noise = [oracles.gumbel(case.seed, 0, cell, code, 1 if children else 0) for code in range(case.codes)]
            right = any(may_be_drawn(probs, noise, token, case.rounding) for probs in likely)
            assert right or any(
                hangs_on_rounding(case.settings.decoding.acceptance or "", likely[0], tokens[child], case)
                for child in children
            ), f"cell {cell}: draws {token}, expected {oracles.sampled(likely[0], noise)}"
            reach("no sibling stays", bool(children))
            reach("a branch is longer than its tree", not children and depth > 0)
        node = stays
    assert not judged, "drafts are judged that the walk does not reach"
    is_whole = node >= 0 and item.cells[-1] + 1 == case.grid(0)[0] * case.grid(0)[1]
    assert node < 0 or is_whole, f"cell {item.cells[-1]}: the walk ends at a draft that stays"
    reach("several cells are decided by a tree", len(item.cells) > 2)


def hold_sibling(
    case: DecodeCase,
    item: TreeJudged,
    child: int,
    place: tuple[int, int],
    likely: list[list[float]],
    tried: list[int],
    told: tuple[float, bool],
) -> list[list[float]]:
    """Hold the chance of a sibling against its rule, and return what is left of p where it does not stay.

    Args:
        case: The decode.
        item: The tree.
        child: The sibling.
        place: Depth of the node, and how many siblings were judged before it.
        likely: What p may be, without what those left.
        tried: The tokens of those.
        told: The trace's chance, and whether it stays.
    """
    rule, token, cell = case.settings.decoding.acceptance or "", int(item.told.tokens[child]), item.cells[place[0]]
    sources = draft_sources(case, item, child, tried)
    answers = [
        acceptance_oracles.accepted(
            rule, probs, draft_probs, token, place[0], place[0] + 1, case.settings, codebook_of(case)
        )
        for probs, draft_probs in product(likely, sources)
    ]
    chance, kept = told
    right = [answer for answer in answers if may_have_chance(chance, answer[0], case.rounding)]
    near = hangs_on_rounding(rule, likely[0], token, case)
    what = f"cell {cell}, sibling {place[1]}, token {token}"
    assert right or near, f"{what}: stays with {chance:.9g}, expected {answers[0][0]:.9g}"
    draw = (oracles.word(case.seed, 1, cell, place[1]) + 0.5) / oracles.WORD
    assert kept == (draw < chance), f"{what}: {'kept' if kept else 'rejected'} at U {draw:.6g}, chance {chance:.6g}"
    return [replacement for _, replacement in right or answers]


def draft_sources(case: DecodeCase, item: TreeJudged, child: int, tried: list[int]) -> list[list[float]]:
    """Return what q of a node may be: without the siblings before it; 1 at its token where it is certain."""
    log_q, token = item.told.draft_log_probs, int(item.told.tokens[child])
    assert (log_q is None) == (case.settings.decoding.draft == "tree"), "drafts of a grown tree are certain, others not"
    certain = [float(code == token) for code in range(case.codes)]
    if log_q is None:
        return [certain]
    weights = log_q[child].double().exp().tolist()
    left = [0.0 if code in tried else weight for code, weight in enumerate(weights)]
    return [acceptance_oracles.normalised(left, certain)]


def head_passes_before(decoded: Decoded, source: Pass) -> list[Pass]:
    """Return the passes of the head between two passes of the target, the later of which is given."""
    passes = decoded.trace.passes
    end = next(index for index, item in enumerate(passes) if item is source)
    start = max(index for index, item in enumerate(passes[:end]) if item.model == 0)
    return passes[start + 1 : end]


def trees_are_grown(case: DecodeCase, decoded: Decoded) -> None:
    """METHOD-6: a dynamic tree has the best children of the best nodes, and of all the best; a fixed one is drawn."""
    before: Counter[int] = Counter()
    for item in told_of(case, decoded, 0).trees:
        if item.cells[0] == 0:
            assert not len(item.told.tokens), "a tree before the first token is decided"
            continue
        made = head_passes_before(decoded, item.source)
        assert {part.model for part in made} == {HEAD}
        if case.settings.decoding.draft == "tree":
            dynamic_tree_follows(case, item, made)
        else:
            static_tree_follows(case, item, made, before)


def log_q(case: DecodeCase, made: Pass, row: int) -> list[float]:
    """Return log q after a row of a pass of the head."""
    return [math.log(prob) if prob > 0 else -math.inf for prob in processed(case, recorded(made)[:, row])]


def dynamic_tree_follows(case: DecodeCase, item: TreeJudged, made: list[Pass]) -> None:
    """Grow the tree once more from the logits of the head's passes."""
    settings, room = case.settings, case.grid(0)[0] * case.grid(0)[1] - item.cells[0]
    depth, top = min(settings.tree_depth, room), settings.tree_top
    assert len(made) == depth, f"cell {item.cells[0]}: {len(made)} passes of the head, expected {depth}"
    nodes: list[Node] = []

    def add(parent: int, level: int, score: float, logs: list[float]) -> list[int]:
        best = sorted(
            (code for code, value in enumerate(logs) if value > -math.inf), key=lambda code: (-logs[code], code)
        )
        nodes.extend((code, parent, level, score + logs[code]) for code in best[:top])
        return list(range(len(nodes) - len(best[:top]), len(nodes)))

    growing = add(-1, 0, 0.0, log_q(case, made[0], len(made[0].tokens) - 1))
    for level, part in enumerate(made[1:], start=1):
        best = [nodes[node][0] for node in growing]
        assert part.tokens.tolist() == best or near_scores(case, nodes), (
            f"cell {item.cells[0]}: the head is fed {part.tokens.tolist()} at depth {level}, expected {best}"
        )
        added = [
            new for row, node in enumerate(growing) for new in add(node, level, nodes[node][3], log_q(case, part, row))
        ]
        growing = sorted(added, key=lambda node: (-nodes[node][3], node))[:top]
    kept = sorted(sorted(range(len(nodes)), key=lambda node: (-nodes[node][3], node))[: settings.tree_nodes])
    number = {node: index for index, node in enumerate(kept)} | {-1: -1}
    expected = [(nodes[node][0], number[nodes[node][1]], nodes[node][2]) for node in kept]
    told = list(zip(item.told.tokens.tolist(), item.told.parents.tolist(), item.told.depths.tolist(), strict=True))
    assert told == expected or near_scores(case, nodes), (
        f"cell {item.cells[0]}: the tree is {told}, expected {expected}"
    )
    reach("a tree is cut", len(kept) < len(nodes))
    reach("a tree has several layers", depth > 1)


def near_scores(case: DecodeCase, nodes: list[Node]) -> bool:
    """Return whether two branches are so likely alike that rounding may change their order."""
    scores = sorted(node[3] for node in nodes)
    gap = min((b - a for a, b in pairwise(scores)), default=math.inf)
    near = gap < NEAR_SCORES * case.rounding.nats
    reach(NEAR_TIE, near)
    return near


def static_tree_follows(case: DecodeCase, item: TreeJudged, made: list[Pass], before: Counter[int]) -> None:
    """Draw the children of every node once more, without replacement."""
    tokens, parents, depths = (values.tolist() for values in (item.told.tokens, item.told.parents, item.told.depths))
    assert item.told.draft_log_probs is not None
    for parent in sorted(set(parents)):
        children = [node for node, other in enumerate(parents) if other == parent]
        cell = item.cells[0] + depths[children[0]]
        logs = item.told.draft_log_probs[children[0]].tolist()
        noise = [oracles.gumbel(case.seed, 2 * HEAD, cell, code, before[cell]) for code in range(case.codes)]
        scores = [value + extra for value, extra in zip(logs, noise, strict=True)]
        best = sorted(range(case.codes), key=lambda code: (-scores[code], code))[: len(children)]
        chosen = [tokens[node] for node in children]
        near = all(
            abs(scores[a] - scores[b]) <= NEAR_SCORES * case.rounding.nats for a, b in zip(chosen, best, strict=True)
        )
        assert chosen == best or near, f"cell {cell}: siblings {chosen}, expected {best}"
    roots = made[0]
    first = item.told.draft_log_probs[parents.index(-1)].exp().tolist()
    expected = near_processed(case, recorded(roots)[:, -1])
    off = 1e-9 + 8 * case.rounding.nats
    assert any(max(abs(a - b) for a, b in zip(first, probs, strict=True)) <= off for probs in expected)
    for depth in set(depths):
        before[item.cells[0] + depth] += 1
    reach("siblings are drawn", len(set(parents)) < len(parents))

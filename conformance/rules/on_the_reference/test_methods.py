"""METHOD-1 to METHOD-6 in whole decodes, of any models."""

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from mulo_sd.conformance.rules import cycle_laws, decode_laws, speculation_laws, tree_laws
from mulo_sd.conformance.rules.branches import must_reach, share_of_examples
from mulo_sd.conformance.rules.replay import told_of
from mulo_sd.conformance.strategies.decodes import (
    AUTOREGRESSIVE,
    CASCADE_PARALLEL,
    JUDGING_MODES,
    PARALLEL,
    TREE_MODES,
    Case,
    cases,
)
from mulo_sd.reference.acceptances import ACCEPTANCES
from mulo_sd.reference.settings import MODES, Settings


def of_mode(mode: Any, base: Case = AUTOREGRESSIVE, **changes: Any) -> Case:
    """Return a decode in a mode, with small windows and trees."""
    small = {"neighbours": 3, "jacobi_window": 5, "row_lead": 2, "tree_depth": 3, "tree_top": 3, "tree_nodes": 9}
    return base._replace(settings=Settings(mode=mode, **(small | changes)))


SJD, MAXIMAL, PJD = of_mode("sjd"), of_mode("sjd-maximal"), of_mode("pjd", jacobi_window=3)
CHAIN, BLOCK = of_mode("eagle", draft_length=3), of_mode("specdec", block=4, top_tau=0.5)
TREE, STATIC = of_mode("eagle-tree"), of_mode("lantern-plus", accept_by="lossless")
ROUNDS = of_mode("ssd", PARALLEL, rounds=3)
BY_BLOCKS = of_mode("ssd", PARALLEL, correct_by="prefix", block=4)
KEPT = of_mode("sjd", carry="kept", temperature=2.0)


class TestMethod1:
    """METHOD-1 Three parts.

    A mode names where drafts come from, what accepts a draft token, and what becomes of the rest; `draft_from`,
    `accept_by` and `correct_by` put another part in its place. Drafts come from a coarser grid (`"coarse"`), the
    last sweep (`"sweep"`), a head on the target's hidden states, as a chain (`"head"`) or a tree (`"tree"`,
    `"static-tree"`), or a block of masks (`"block"`). Corrections are `"prefix"` (METHOD-2), `"local"` (LOCAL-1 to
    LOCAL-3, SCHED-4), `"rounds"` (METHOD-4) and `"rows"` (METHOD-5). `"local"` needs a coarse draft, each token of
    which it judges by itself as one that is certain, `"rows"` one from the last sweep, `"rounds"` either, and a
    tree an acceptance that draws from a residual (ACCEPT-2, ACCEPT-5, ACCEPT-6). Any other choice is an error.
    Drafters of a cascade above the coarsest one pool and resample (POOL-1 to LOCAL-3) in every mode, or go over
    their drafts in rounds.
    """

    @must_reach("a certain draft is judged by another rule")
    @example("lossless")
    @example("lantern")
    @example("top-beta")
    @example("coupled")
    @example("grouped")
    @example("annealed")
    @given(st.sampled_from(("lossless", "coupled", *ACCEPTANCES)))
    def test_any_acceptance_with_islands(self, name: str) -> None:
        """A coarse draft is judged by any rule, each token by itself, and resampled around what is rejected."""
        case = of_mode("parallel", PARALLEL, accept_by=name, radius=0, island_window=2)
        decoded = case.run(record_logits=True)
        cycle_laws.verification_judges(case, decoded)
        cycle_laws.rejections_grow(case, decoded)
        cycle_laws.cycles_in_order(case, decoded)

    @pytest.mark.parametrize(
        ("parts", "message"),
        [
            ({"mode": "sjd", "correct_by": "local"}, "draft_from coarse where correct_by is local"),
            ({"mode": "ssd", "correct_by": "rows"}, "draft_from sweep where correct_by is rows"),
            ({"mode": "eagle", "correct_by": "rounds"}, "draft_from coarse or sweep where correct_by is rounds"),
            (
                {"mode": "eagle-tree", "accept_by": "grouped"},
                "accept_by lossless, lantern or lantern-plus where",
            ),
        ],
    )
    def test_parts_that_do_not_fit(self, parts: dict[str, Any], message: str) -> None:
        """Parts that make no sense together are refused in one line."""
        with pytest.raises(ValueError, match=message):
            Settings(**parts)


class TestMethod2:
    """METHOD-2 Drafts that are judged pass by pass.

    A pass scores a window: the first undecided cells of the grid, each with a draft token x drawn from q, or
    certain, which is q(x) = 1, or with none. It feeds the drafts, all but the last cell's, and gives p of each cell
    as the drafts before it would have it. A rule of acceptance says with which chance each stays: it does if U <
    chance. From the left, every cell whose draft stays is decided with it, and the first whose does not is decided
    as it is drawn: from the rule's residual, or from p where it had no draft or the residual is empty. Windows are
    `jacobi_window` cells of sweeps, `draft_length` + 1 of a chain, `block` + 1 of a block. A cell that t passes
    scored before takes U of attempt t, and draws from the residual by the noise of attempt t + 1.
    """

    @must_reach(
        "a window is decided as a whole",
        "a draft is decided",
        "a cell is decided as it is drawn",
        "a draft is kept by chance",
        "a draft is rejected",
        "a cell is judged again",
        "a token is drawn from a residual",
        "a token is drawn where nothing is drafted",
        "a pass decides several tokens",
    )
    @example(SJD)
    @example(CHAIN)
    @example(BLOCK)
    @example(BY_BLOCKS)
    @share_of_examples(1)
    @given(cases(JUDGING_MODES, max_cells=24, own_draft=True))
    def test_windows(self, case: Case) -> None:
        """METHOD-3 to METHOD-5: chances, draws, tokens and next drafts of every window follow from the logits."""
        decoded = case.run(record_logits=True)
        speculation_laws.drafts_are_judged(case, decoded)
        decode_laws.passes_are_counted(case, decoded)

    @must_reach("a pass replaces the token of a position")
    @example(SJD)
    @example(CHAIN)
    @example(PJD)
    @example(ROUNDS)
    @share_of_examples(2)
    @given(cases(JUDGING_MODES, max_cells=24, own_draft=True))
    def test_passes(self, case: Case) -> None:
        """KV-1, KV-3: passes feed drafts, all but the last cell's, and no query sees a token that is gone."""
        decoded = case.run(record_logits=True)
        decode_laws.passes_feed_exactly(case, decoded)
        decode_laws.nothing_seen_is_gone(case, decoded)
        decode_laws.logits_follow_from_passes(case, decoded)

    @pytest.mark.parametrize("mode", ["eagle", "specdec", "ssd"])
    def test_coupled_drafts_give_the_image_of_ar(self, mode: Any) -> None:
        """With "coupled" any draft gives MODE-AR's image of the seed."""
        correction = {"correct_by": "prefix"} if MODES[mode].correction == "rounds" else {}
        for seed in range(4):
            drafted = of_mode(mode, PARALLEL, accept_by="coupled", block=4, **correction)._replace(seed=seed)
            raster = of_mode("ar", PARALLEL, sweep_width=1)._replace(seed=seed)
            assert drafted.run().tokens.tolist() == raster.run().tokens.tolist()


class TestMethod3:
    """METHOD-3 Next guesses.

    Behind the first rejection a cell of a sweep is not decided, and what it draws is its next draft. By `carry`
    that is a sample of p by fresh noise, that of attempt t (`"fresh"`); by the same noise in every pass, that of
    attempt 0 (`"same"`); its draft if it stays, else a draw from the residual (`"coupled"`); or its draft with the
    q it came from where p / q of it is above 1/2, else a fresh sample (`"kept"`). But for that last case the q of
    the next pass is the p of this one. First guesses are those of SWEEP-5, and certain.
    """

    @must_reach(
        "a later draft is a fresh sample",
        "a draft was drawn from the last pass",
        "a draft stays for the next pass",
        "a draft is certain",
    )
    @example(SJD)
    @example(MAXIMAL)
    @example(KEPT)
    @share_of_examples(1)
    @given(cases(("sjd", "sjd-gumbel", "sjd-maximal", "gsd"), max_cells=24))
    def test_next_drafts(self, case: Case) -> None:
        """Later cells go on by the carry chosen, and the q of the next pass is what they were drawn from."""
        speculation_laws.drafts_are_judged(case, case.run(record_logits=True))

    def test_the_same_noise_keeps_drafts_more_often(self) -> None:
        """METHOD-3: sharing noise, and coupling more so, saves passes on average."""
        passes = {
            mode: sum(of_mode(mode, temperature=0.7)._replace(seed=seed).run().nfe_target for seed in range(12))
            for mode in ("sjd", "sjd-gumbel", "sjd-maximal")
        }
        assert passes["sjd"] > passes["sjd-gumbel"]
        assert passes["sjd"] > passes["sjd-maximal"]


class TestMethod4:
    """METHOD-4 Rounds.

    A pass scores the whole draft, and each cell keeps its token or draws from its residual on its own. So it goes
    for `rounds` passes; what the last one leaves is decided. After a round q is that round's p, as with
    `"coupled"`. A drafter of a cascade above the coarsest one goes over its draft so, by ACCEPT-2, where
    `refine_by` is `"rounds"`.
    """

    @must_reach("a draft is rejected", "a cell is judged again", "a draft is kept by chance")
    @example(ROUNDS)
    @example(CASCADE_PARALLEL._replace(settings=replace(CASCADE_PARALLEL.settings, refine_by="rounds", rounds=2)))
    @share_of_examples(2)
    @given(cases(("ssd",), max_cells=24, own_draft=True))
    def test_rounds(self, case: Case) -> None:
        """So many passes, each over all cells; q of a round is p of the one before."""
        decoded = case.run(record_logits=True)
        speculation_laws.drafts_are_judged(case, decoded)
        decode_laws.passes_are_counted(case, decoded)
        assert case.settings.decoding.correction != "rounds" or decoded.nfe_target == 1 + case.settings.rounds


class TestMethod5:
    """METHOD-5 Rows.

    Each open row has a window of `jacobi_window` cells at most, which never reaches beyond the cells decided in the
    row above; a row opens when the one above holds `row_lead` decided tokens. A query sees decided tokens and the
    drafts of its own row, not those of others. The last cell of a window has no draft. The topmost unfinished row
    decides as METHOD-2 says; the others decide the drafts that stay before the first that does not, and nothing
    else, and there a cell that is not decided goes on by METHOD-3. A coarsest draft is drawn so where `draft_by` is
    `"rows"`, with ACCEPT-2, the carry `"kept"`, and queries that see the drafts of other rows too.
    """

    @must_reach("rows are open side by side", "a row decides nothing", "a draft stays for the next pass")
    @example(PJD)
    @example(of_mode("ssd", PARALLEL, draft_by="rows", jacobi_window=2, row_lead=1))
    @share_of_examples(1)
    @given(cases(("pjd",), max_cells=36))
    def test_rows(self, case: Case) -> None:
        """No row overtakes the one above or sees its drafts; the topmost decides its first rejection, too."""
        decoded = case.run(record_logits=True)
        speculation_laws.drafts_are_judged(case, decoded)
        decode_laws.passes_feed_exactly(case, decoded)
        decode_laws.nothing_seen_is_gone(case, decoded)
        decode_laws.logits_follow_from_passes(case, decoded)

    def test_a_lead_of_a_row_is_raster_order(self) -> None:
        """With a lead as long as a row, rows follow each other."""
        case = of_mode("pjd", row_lead=99)
        told = told_of(case, case.run(), 0)
        assert all(len(windows) == 1 for _, _, passes in told.speculations for windows in passes)


class TestMethod6:
    """METHOD-6 Heads and trees.

    A head is one layer on the target's last hidden states: fed the state of token u and token u + 1, it predicts
    the state of token u + 1, and the target's output makes logits of token u + 2 of it. Distribution and guidance
    are the target's (DIST-1). A chain feeds the head its own states and draws each token from its q. A dynamic tree
    takes at each of `tree_depth` layers the `tree_top` best children of the `tree_top` best nodes by the sum of
    their log q, and keeps the `tree_nodes` best of all; they are certain. A static tree has a fixed shape and draws
    siblings from q without replacement. One pass scores all nodes, each seeing its ancestors alone. From the root
    down, children are judged one after the other: where one stays, the walk goes on below it; where it does not, p
    becomes the residual, and q loses the child, both renormalised; a child is certain where those before it were
    all that q draws. Where none stays the token is drawn from what is left of p.
    """

    @must_reach("a cell is drafted again", "a pass decides several tokens")
    @example(CHAIN)
    @share_of_examples(2)
    @given(cases(("eagle", "cool-sd"), max_cells=24))
    def test_chains(self, case: Case) -> None:
        """A head draws each draft by noise of its own from its q."""
        decoded = case.run(record_logits=True)
        speculation_laws.drafts_are_judged(case, decoded)
        decode_laws.passes_are_counted(case, decoded)

    @must_reach(
        "a later sibling stays",
        "no sibling stays",
        "several cells are decided by a tree",
        "a tree is cut",
        "a tree has several layers",
        "siblings are drawn",
    )
    @example(TREE)
    @example(STATIC)
    @share_of_examples(2)
    @given(cases(TREE_MODES, max_cells=24))
    def test_trees(self, case: Case) -> None:
        """ACCEPT-5, ACCEPT-6: Trees are grown and drawn from q, and walked from the root down."""
        decoded = case.run(record_logits=True)
        tree_laws.trees_are_grown(case, decoded)
        tree_laws.trees_are_walked(case, decoded)
        decode_laws.passes_are_counted(case, decoded)

    @must_reach("a node has siblings")
    @example(TREE)
    @share_of_examples(8)
    @given(cases(TREE_MODES, max_cells=16))
    def test_nodes_see_their_ancestors(self, case: Case) -> None:
        """KV-1, KV-3: a node sees what stands before the tree, its ancestors and itself."""
        decoded = case.run(record_logits=True)
        decode_laws.logits_follow_from_passes(case, decoded)
        decode_laws.passes_feed_exactly(case, decoded)

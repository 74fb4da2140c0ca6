"""The fixed tree's shape."""

from itertools import pairwise

from mulo_sd.engines.rules import trees as engines_trees
from mulo_sd.reference import trees


def test_paths_of_the_fixed_tree() -> None:
    """57 nodes, 5 deep, each with its parent and its elder siblings before it, no more than an engine has bits for."""
    paths = trees.static_paths()
    assert len(paths) == len(set(paths)) == 57
    assert max(map(len, paths)) == 5
    known: set[trees.Path] = {()}
    for path in paths:
        assert path[:-1] in known
        assert path[-1] == 0 or (*path[:-1], path[-1] - 1) in known
        known.add(path)
    assert all(len(one) <= len(other) for one, other in pairwise(paths))


def test_engines_know_the_same_tree() -> None:
    assert engines_trees.static_paths() == trees.static_paths()
    assert engines_trees.static_paths(20, 3) == trees.static_paths(20, 3)

"""What a search adds to the log-probability of coming to a node: evidence that does not depend on the question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.lm.ragged import Int64
from harness.lm.trie import Trie

Floats = npt.NDArray[np.float64]


class Level(NamedTuple):
    """The nodes of a trie that many tokens deep, (n,) each, and for each the place of its parent in the level above."""

    node: Int64
    token: Int64
    parent: Int64


def levels(trie: Trie, root: int = 0) -> Iterator[Level]:
    """Go through a trie from its root down, level by level; the root itself is left out."""
    above = np.array([root], dtype=np.int64)
    while True:
        inner = np.flatnonzero(trie.reach(above) > 0)
        if not len(inner):
            return
        followers = trie.followers(above[inner])
        level = Level(
            followers.nodes.astype(np.int64),
            followers.tokens.astype(np.int64),
            np.repeat(inner, followers.counts),
        )
        yield level
        above = level.node


@dataclass(frozen=True, eq=False)
class Offsets:
    """A number for each node of a trie.

    node: (n,) all but the root, ascending. step: (n,) added to the log-probability of coming to it. ahead: (n,) the
    most that all steps behind it can add, at least 0.
    """

    node: Int64
    step: Floats
    ahead: Floats

    @classmethod
    def of(cls, trie: Trie, node: Int64, step: Floats) -> Offsets:
        """Give step[i] to node[i], (n,) each, and nothing to other nodes; no node may stand there twice."""
        order = np.argsort(node)
        given = cls(node[order], step[order], np.zeros(len(node)))
        nodes, steps, ahead = [np.zeros(0, dtype=np.int64)], [np.zeros(0)], [np.zeros(0)]
        parents = nodes[0]  # of the level below, whose steps and what lies behind them stand last
        for level in reversed(list(levels(trie))):
            best = np.zeros(len(level.node))
            np.maximum.at(best, parents, steps[-1] + ahead[-1])
            nodes.append(level.node)
            steps.append(given.steps_to(level.node))
            ahead.append(best)
            parents = level.parent
        every = np.concatenate(nodes)
        order = np.argsort(every)
        return cls(every[order], np.concatenate(steps)[order], np.concatenate(ahead)[order])

    def times(self, factor: float) -> Offsets:
        """Return them `factor` times as strong; it must not be negative."""
        return Offsets(self.node, factor * self.step, factor * self.ahead)

    def steps_to(self, nodes: Int64) -> Floats:
        """(...,) what the step to each adds."""
        return self._of(self.step, nodes)

    def ahead_of(self, nodes: Int64) -> Floats:
        """(...,) the most that the steps behind each can add."""
        return self._of(self.ahead, nodes)

    def _of(self, values: Floats, nodes: Int64) -> Floats:
        if not len(self.node):
            return np.zeros(np.shape(nodes))
        place = np.minimum(np.searchsorted(self.node, nodes), len(self.node) - 1)
        return np.where(self.node[place] == nodes, values[place], 0.0)

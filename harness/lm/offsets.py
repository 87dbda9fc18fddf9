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
    """A number for each of some nodes of a trie.

    node: (n,) ascending. step: (n,) added to the log-probability of coming to it. ahead: (n,) the most that all steps
    behind it can add, at least 0.
    """

    node: Int64
    step: Floats
    ahead: Floats

    @classmethod
    def of(cls, trie: Trie, node: Int64, step: Floats) -> Offsets:
        """Give step[i] to node[i], (n,) each, and nothing to other nodes; no node may stand there twice."""
        if not len(node):
            return cls(node, step, np.zeros(0))
        order = np.argsort(node)
        plain = cls(node[order], step[order], np.zeros(len(node)))
        below = list(levels(trie))
        known = np.zeros(len(node))
        best = np.zeros(len(below[-1].node)) if below else np.zeros(0)
        for depth in range(len(below) - 1, -1, -1):
            level = below[depth]
            place, mine = plain._places(level.node)
            known[place[mine]] = best[mine]
            up = np.zeros(len(below[depth - 1].node) if depth else 1)
            np.maximum.at(up, level.parent, plain.steps_to(level.node) + best)
            best = up
        return cls(plain.node, plain.step, known)

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
        place, mine = self._places(nodes)
        return np.where(mine, values[place], 0.0)

    def _places(self, nodes: Int64) -> tuple[Int64, npt.NDArray[np.bool_]]:
        """Return where each stands, and whether it does."""
        place = np.minimum(np.searchsorted(self.node, nodes), len(self.node) - 1)
        return place, self.node[place] == nodes

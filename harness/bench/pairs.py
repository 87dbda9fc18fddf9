"""Time two ways of doing the same in turn, so that a drifting machine slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from harness.lm.session import Clock

A = TypeVar("A")
B = TypeVar("B")


class Pair(NamedTuple):
    """Seconds of one task done both ways."""

    other_s: float
    ours_s: float

    @property
    def speedup(self) -> float:
        """How many times faster ours was."""
        return self.other_s / self.ours_s


def in_turn(
    other: Callable[[int], A], ours: Callable[[int], B], rounds: int, clock: Clock = time.perf_counter
) -> tuple[list[Pair], list[A], list[B]]:
    """Call other(i) and ours(i) for each round i, the first one changing from round to round."""
    pairs: list[Pair] = []
    theirs: list[A] = []
    mine: list[B] = []
    for i in range(rounds):
        spent: dict[bool, float] = {}
        for is_ours in (False, True) if i % 2 == 0 else (True, False):
            start = clock()
            if is_ours:
                mine.append(ours(i))
            else:
                theirs.append(other(i))
            spent[is_ours] = clock() - start
        pairs.append(Pair(spent[False], spent[True]))
    return pairs, theirs, mine


def median_speedup(pairs: Sequence[Pair]) -> float:
    """Return the median over pairs of how many times faster ours was.

    >>> median_speedup([Pair(2.0, 1.0), Pair(9.0, 3.0), Pair(4.0, 1.0)])
    3.0
    """
    return statistics.median(pair.speedup for pair in pairs)

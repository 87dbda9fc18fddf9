"""When is scoring everything faster than a beam, and what does the beam miss?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from harness.bench.decode import Task
from harness.bench.pairs import in_turn, median_speedup
from harness.lm.beam import constrained_search
from harness.lm.exhaustive import exhaustive_search
from harness.lm.trie import TokenTrie
from harness.progress import SILENT, Progress

if TYPE_CHECKING:
    from harness.lm.backbone import Backbone

SIZES = (10, 30, 100, 300, 1000)


class Exact(TypedDict):
    """One corpus size. ratio: time of the exhaustive mode over that of the beam, median over pairs.

    top1, top5: share of the exact best one and best five that the beam finds.
    """

    sequences: int
    exhaustive_ms: float
    beam_ms: float
    ratio: float
    top1: float
    top5: float
    queries: int


def run(
    backbone: Backbone,
    task: Task,
    *,
    sizes: Sequence[int] = SIZES,
    beam_size: int = 5,
    queries: int = 5,
    progress: Progress = SILENT,
) -> list[Exact]:
    """Search the first sequences of a task both ways, one prompt at a time."""
    sizes = [size for size in sizes if size <= len(task.sequences)]
    progress.phase("exhaustive", len(sizes), "sizes")
    found: list[Exact] = []
    for size in sizes:
        # Spread over the corpus: neighbours in the alphabet share more than titles do.
        picked = [task.sequences[i * len(task.sequences) // size] for i in range(size)]
        trie = TokenTrie.from_sequences(picked)
        prompts = [task.prompts[i % len(task.prompts)] for i in range(queries)]

        def exact(i: int, trie: TokenTrie = trie, prompts: Sequence[Sequence[int]] = prompts) -> list[tuple[int, ...]]:
            return [h.tokens for h in exhaustive_search(backbone, [prompts[i]], trie, k=5)[0]]

        def beam(i: int, trie: TokenTrie = trie, prompts: Sequence[Sequence[int]] = prompts) -> list[tuple[int, ...]]:
            return [h.tokens for h in constrained_search(backbone, [prompts[i]], trie, beam_size=beam_size)[0]]

        exact(0), beam(0)  # warm-up
        pairs, best, beams = in_turn(exact, beam, queries)
        found.append(
            {
                "sequences": size,
                "exhaustive_ms": statistics.median(p.other_s for p in pairs) * 1e3,
                "beam_ms": statistics.median(p.ours_s for p in pairs) * 1e3,
                "ratio": median_speedup(pairs),
                "top1": statistics.fmean(a[:1] == b[:1] for a, b in zip(best, beams, strict=True)),
                "top5": statistics.fmean(len({*a} & {*b}) / len(a) for a, b in zip(best, beams, strict=True)),
                "queries": queries,
            }
        )
        progress.advance()
    return found

"""How fast constrained decoding is: the engine against `generate`, on one model, trie, queries and beams."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, cast

from harness.bench.pairs import in_turn, median_speedup
from harness.bench.reference import DictTrie, dict_trie, equal, generate
from harness.lm.beam import Hypothesis, constrained_search
from harness.lm.nodes import Normaliser
from harness.lm.session import told
from harness.lm.trie import TokenTrie
from harness.progress import SILENT, Progress

if TYPE_CHECKING:
    from harness.lm.backbone import Backbone

NORMALISERS: tuple[Normaliser, ...] = ("vocabulary", "allowed")
GENERATE_BATCHES = (8, 16, 32)
"""Batch sizes `generate` is tried with; its fastest one counts."""


class Measured(TypedDict):
    """One comparison: a corpus, a normaliser, single queries or a batch.

    ours_ms, generate_ms: median milliseconds a query. generate_batch: prompts `generate` was given at once. speedup:
    median over pairs. equal, queries: how many queries got the same hypotheses and scores, and of how many.
    model_calls: forward passes a query of ours. search_share: 0..1 of our time spent outside the model. mask_share: of
    our time spent asking the trie what is allowed and choosing the best of it.
    """

    corpus: str
    normaliser: str
    queries_at_once: int
    ours_ms: float
    generate_ms: float
    generate_batch: int
    speedup: float
    equal: int
    queries: int
    model_calls: float
    search_share: float
    mask_share: float


@dataclass(frozen=True)
class Task:
    """What is decoded: sequences that each end with `end`, and prompts."""

    corpus: str
    sequences: Sequence[Sequence[int]]
    prompts: Sequence[Sequence[int]]
    end: int


@dataclass
class _Bench:
    backbone: Backbone
    task: Task
    beam_size: int
    trie: TokenTrie = field(init=False)
    nested: DictTrie = field(init=False)
    counters: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trie = TokenTrie.from_sequences(self.task.sequences)
        self.nested = dict_trie(self.task.sequences)

    def ours(self, prompts: Sequence[Sequence[int]], normaliser: Normaliser) -> list[list[Hypothesis]]:
        return constrained_search(
            self.backbone,
            prompts,
            self.trie,
            beam_size=self.beam_size,
            normaliser=normaliser,
            early_stopping=False,  # as generate does by default
            counters=self.counters,
        )

    def theirs(self, prompts: Sequence[Sequence[int]], normaliser: Normaliser, batch: int) -> Any:
        found = []
        for first in range(0, len(prompts), batch):
            found += generate(
                self.backbone.model,
                prompts[first : first + batch],
                self.nested,
                beam_size=self.beam_size,
                end=self.task.end,
                longest=self.trie.height,
                normaliser=normaliser,
            )
        return found

    def compare(self, chunks: Sequence[Sequence[Sequence[int]]], normaliser: Normaliser, batch: int) -> Measured:
        """Time both on each chunk of prompts in turn."""
        self.ours(chunks[0], normaliser)  # warm-up: weights are packed once
        self.theirs(chunks[0][:1], normaliser, 1)
        self.counters.clear()
        pairs, theirs, ours = in_turn(
            lambda i: self.theirs(chunks[i], normaliser, batch), lambda i: self.ours(chunks[i], normaliser), len(chunks)
        )
        same = [equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)]
        size = len(chunks[0])
        shares = told(self.counters)
        return {
            "corpus": self.task.corpus,
            "normaliser": normaliser,
            "queries_at_once": size,
            "ours_ms": statistics.median(p.ours_s for p in pairs) * 1e3 / size,
            "generate_ms": statistics.median(p.other_s for p in pairs) * 1e3 / size,
            "generate_batch": batch,
            "speedup": median_speedup(pairs),
            "equal": sum(same),
            "queries": len(same),
            "model_calls": self.counters["model_calls"] / len(same),
            "search_share": shares["search_share"],
            "mask_share": shares["mask_share"],
        }


def run(
    backbone: Backbone,
    tasks: Sequence[Task],
    *,
    beam_size: int = 5,
    singles: int = 12,
    batch_size: int = 32,
    rounds: int = 3,
    progress: Progress = SILENT,
) -> list[Measured]:
    """Compare on every task with both normalisers, queries alone and in batches.

    Args:
        backbone: a causal model.
        tasks: what to decode; prompts are taken in turn and again from the front where there are too few.
        beam_size: beams of both.
        singles: queries asked alone.
        batch_size: queries asked together; `generate` takes them in the batches that suit it best.
        rounds: batches timed.
        progress: told about each comparison.
    """
    found: list[Measured] = []
    progress.phase("decode", 2 * len(NORMALISERS) * len(tasks), "comparisons")
    for task in tasks:
        bench = _Bench(backbone, task, beam_size)
        for normaliser in NORMALISERS:
            found.append(bench.compare(_chunks(task.prompts, 1, singles), normaliser, 1))
            progress.advance()
            batches = _chunks(task.prompts, batch_size, rounds)
            best = _best_batch(bench, batches[0], normaliser)
            found.append(bench.compare(batches, normaliser, best))
            progress.advance()
    return found


def _best_batch(bench: _Bench, prompts: Sequence[Sequence[int]], normaliser: Normaliser) -> int:
    """Find the batch size with which `generate` is fastest on these prompts."""
    sizes = [size for size in GENERATE_BATCHES if size <= len(prompts)] or [len(prompts)]
    if len(sizes) == 1:
        return sizes[0]
    spent = {}
    for size in sizes:
        pairs, _, _ = in_turn(lambda _, s=size: bench.theirs(prompts, normaliser, s), lambda _: None, 1)  # type: ignore[misc]
        spent[size] = pairs[0].other_s
    return min(spent, key=lambda size: spent[size])


def _chunks(prompts: Sequence[Sequence[int]], size: int, count: int) -> list[list[Sequence[int]]]:
    """Cut `count` chunks of `size` prompts, going round where there are too few.

    >>> _chunks([[1], [2], [3]], 2, 2)
    [[[1], [2]], [[3], [1]]]
    """
    return [[prompts[(c * size + i) % len(prompts)] for i in range(size)] for c in range(count)]


def summarise(found: Sequence[Measured]) -> dict[str, Any]:
    """Return the figures of `harness bench decode --json`: of several corpora the least speed-up counts."""

    def worst(at_once: bool, normaliser: Normaliser) -> float:
        return min(
            m["speedup"] for m in found if (m["queries_at_once"] > 1) == at_once and m["normaliser"] == normaliser
        )

    parts = {
        name: {
            "speedup_vs_generate": worst(at_once, "vocabulary"),
            "speedup_vs_generate_allowed": worst(at_once, "allowed"),
        }
        for name, at_once in (("single", False), ("batch", True))
    }
    return {
        **parts,
        "equal_hypotheses": all(m["equal"] == m["queries"] for m in found),
        "search_share": max(m["search_share"] for m in found),
        "mask_share": max(m["mask_share"] for m in found),
        "comparisons": [cast("dict[str, Any]", m) for m in found],
    }

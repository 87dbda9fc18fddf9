"""How a trie grows: bytes, build time, opening and the time of a search step against the number of sequences."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from harness.lm.beam import Rules, Start, search
from harness.lm.ragged import Int64, Ragged, spread
from harness.lm.session import Clock, Work
from harness.lm.trie import TokenTrie
from harness.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_SEARCHES = 200


class Size(TypedDict):
    """One size. overhead_bytes_per_passage: what is held above 4 bytes a node.

    build_s, open_s: seconds to build from token arrays, and to map from disk and search once. step_us: microseconds a
    step of a search takes outside the model.
    """

    passages: int
    tokens_per_passage: float
    nodes: int
    bytes_per_passage: float
    overhead_bytes_per_passage: float
    build_s: float
    passages_per_minute: float
    open_s: float
    step_us: float


def run(
    seeds: Ragged, sizes: Sequence[int] = SIZES, *, progress: Progress = SILENT, clock: Clock = time.perf_counter
) -> list[Size]:
    """Measure tries of `sizes` sequences, cut where they are unique.

    Args:
        seeds: real sequences, titles say; larger corpora are mixed from their parts.
        sizes: numbers of sequences, ascending.
        progress: told about each size.
        clock: seconds.
    """
    progress.phase("trie", len(sizes), "sizes")
    found: list[Size] = []
    for size in sizes:
        sequences = seeds.take(np.arange(size)) if size <= len(seeds) else mixed(seeds, size)
        start = clock()
        trie = TokenTrie.from_sequences(sequences, cut=True)
        build_s = clock() - start
        with tempfile.TemporaryDirectory() as folder:
            trie.save(Path(folder))
            start = clock()
            opened = TokenTrie.open(Path(folder))
            step_us(opened, 1)
            open_s = clock() - start
            step_us(opened, 20)  # warm-up
            steps = step_us(opened, _SEARCHES)
        found.append(
            {
                "passages": size,
                "tokens_per_passage": len(sequences.values) / size,
                "nodes": len(trie),
                "bytes_per_passage": trie.nbytes / size,
                "overhead_bytes_per_passage": (trie.nbytes - 4 * len(trie)) / size,
                "build_s": build_s,
                "passages_per_minute": size / build_s * 60,
                "open_s": open_s,
                "step_us": steps,
            }
        )
        progress.advance()
    return found


def titles(dataset: str = "vital-articles/10k") -> Ragged:
    """Tokenise the distinct titles of a dataset with the embedded model's tokeniser, each with an end token."""
    from transformers import AutoTokenizer

    from harness.datasets import load
    from harness.lm.backbone import embedded_folder
    from harness.lm.tokenizing import encode, end_of

    tokenizer = AutoTokenizer.from_pretrained(str(embedded_folder()))
    end = end_of(tokenizer)
    names = sorted({passage.title for passage in load(dataset).corpus})
    return Ragged.of([*ids, end] for ids in encode(tokenizer, [f" {name}" for name in names]))


def mixed(seeds: Ragged, count: int, seed: int = 0) -> Ragged:
    """Make `count` sequences that look like the seeds: the first half of one, the second halves of two others."""
    rng = np.random.default_rng(seed)
    length = seeds.lengths
    parts = []
    for half in (0, 1, 1):
        row = rng.integers(0, len(seeds), count)
        middle = (length[row] + 1) // 2
        first = seeds.offsets[row] + (middle if half else 0)
        parts.append((first, np.where(half, length[row] - middle, middle)))
    firsts = np.stack([p[0] for p in parts], axis=1).ravel()
    counts = np.stack([p[1] for p in parts], axis=1).ravel()
    _, place, bounds = spread(firsts, counts)
    return Ragged(seeds.values[place], bounds[::3])


def step_us(trie: TokenTrie, searches: int, beam_size: int = 5) -> float:
    """Return the microseconds a step of a search takes outside the model, over searches with random probabilities."""
    session = _Dice(trie, seed=7)
    for _ in range(searches):
        state, slots = session.prefill([[0]])
        search(session, [Start(int(slots[0]), state[0])], trie, Rules(beam_size, "allowed"))
    return session.work.search_s / session.work.steps * 1e6


class _Dice:
    """A model that rolls dice and costs nothing; see `harness.lm.session.Session`."""

    lookahead_tokens = 0

    def __init__(self, trie: TokenTrie, seed: int) -> None:
        self.backbone: Any = _Everything(int(trie.tokens.max(initial=0)) + 1)
        self.work = Work()
        self.next_slot = 0
        self._rng = np.random.default_rng(seed)

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Int64]:
        return self.feed(np.zeros(len(prompts), dtype=np.int64), np.zeros(len(prompts), dtype=np.int64))

    def feed(self, parents: Int64, tokens: Int64) -> tuple[torch.Tensor, Int64]:
        import torch

        with self.work.model():
            first, self.next_slot = self.next_slot, self.next_slot + len(tokens)
            return torch.zeros(len(tokens), 1), np.arange(first, self.next_slot)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.from_numpy(self._rng.normal(size=(len(states), len(self.backbone.column_of))) * 3)

    def logits_at(self, states: torch.Tensor, owner: Int64, columns: Int64) -> torch.Tensor:
        import torch

        return torch.from_numpy(self._rng.normal(size=len(columns)) * 3)


class _Everything:
    """A backbone whose head holds every token."""

    def __init__(self, size: int) -> None:
        self.column_of = np.arange(size)


def summarise(found: Sequence[Size]) -> dict[str, Any]:
    """Return the figures of `harness bench trie --json`."""
    return {"sizes": [dict(row) for row in found], "step_growth": found[-1]["step_us"] / found[0]["step_us"]}

"""Write titles, then passages (section 3.2, Tang et al. 2024), both by beam search in one trie and one cache.

The released scripts search only the first token of a passage by beam and finish greedily; here the beam goes on
until the passage is unique.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.lm.beam import Hypothesis, Start, search
from harness.lm.lattice import Lattice
from selfretrieval.memory import Memory

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Title:
    """A title written for the question in `row`; `path` and `state` are where its passages start.

    score: length-normalised log-probability of its tokens and its end. length: its tokens, boundary included.
    """

    row: int
    node: int
    score: float
    length: int
    path: tuple[int, ...]
    state: torch.Tensor


@dataclass(frozen=True)
class Candidate:
    """A passage written for the question in `row` under its title number `title`.

    items: corpus rows of all identical passages. written: tokens written, title included. path: slots of the tokens
    in the cache. score: length-normalised log-probability of the passage's own tokens (0 if the title alone
    settles it).
    """

    row: int
    title: int
    items: tuple[int, ...]
    written: int
    path: tuple[int, ...]
    score: float


def write_titles(lattice: Lattice, states: torch.Tensor, memory: Memory, beam_size: int) -> list[Title]:
    """Return at most `beam_size` titles for each question, best first within a question."""
    starts = [Start(row, (), states[row]) for row in range(len(states))]
    found = search(lattice, starts, memory.trie, beam_size=beam_size, stop=memory.stops)
    chosen = [(row, h) for row, hypotheses in enumerate(found) for h in hypotheses]
    if not chosen:
        return []
    rows = np.array([row for row, _ in chosen])
    chains = np.array([[h.tokens[-1], *memory.boundary] for _, h in chosen])
    hidden, slots = lattice.feed(rows, padded_paths([h.path for _, h in chosen]), chains)
    length = len(memory.boundary)
    return [
        Title(
            row,
            memory.trie.walk(memory.boundary, h.node),
            h.score,
            len(h.tokens) + length,
            (*h.path, *slots[i].tolist()),
            hidden[i, -1],
        )
        for i, (row, h) in enumerate(chosen)
    ]


def untitled(states: torch.Tensor) -> list[Title]:
    """Return one empty title a question, for retrieval without titles (Table 4)."""
    return [Title(row, 0, 0.0, 0, (), states[row]) for row in range(len(states))]


def write_passages(lattice: Lattice, titles: Sequence[Title], memory: Memory, beam_size: int) -> list[Candidate]:
    """Return at most `beam_size` passages for each title, grouped by title."""
    starts = [Start(t.row, t.path, t.state, t.node) for t in titles]
    found = search(lattice, starts, memory.trie, beam_size=beam_size)
    numbers = _number_in_row([t.row for t in titles])
    return [
        _candidate(title, number, h, memory)
        for title, number, hypotheses in zip(titles, numbers, found, strict=True)
        for h in hypotheses
    ]


def padded_paths(paths: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Lay slot paths of different lengths into one array, -1 where a path is shorter."""
    width = max((len(p) for p in paths), default=0)
    array = np.full((len(paths), width), -1, dtype=np.int64)
    for place, path in enumerate(paths):
        array[place, : len(path)] = path
    return array


def _candidate(title: Title, number: int, h: Hypothesis, memory: Memory) -> Candidate:
    items = tuple(memory.trie.items_at(h.node).tolist())
    return Candidate(title.row, number, items, title.length + len(h.tokens), h.path, h.score)


def _number_in_row(rows: Sequence[int]) -> list[int]:
    """Number the entries of each run of equal values from 0."""
    numbers: list[int] = []
    for place, row in enumerate(rows):
        numbers.append(numbers[-1] + 1 if place and rows[place - 1] == row else 0)
    return numbers

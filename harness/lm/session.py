"""What a constrained search needs of a language model: start from prompts, follow any branch, score what may follow.

Two kinds: `Lattice`, one row a prompt whose branches share its keys and values, for causal models whose attention can
be told what to see; and `Replicas`, a copy of the cache for each branch, for every other model that `generate` can
beam-search, encoder-decoder ones among them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np

from harness.lm.backbone import Backbone
from harness.lm.ragged import Int64

if TYPE_CHECKING:
    import torch

Clock = Callable[[], float]
"""Seconds since some fixed moment."""

_SECONDS = ("model_s", "search_s", "mask_s")


class Session(Protocol):
    """A batch of prompts and the branches that grow from them. A slot stands for a fed token and all before it."""

    backbone: Backbone
    work: Work
    lookahead_tokens: int
    """A pass may be filled up to so many tokens with ones that are only likely to be needed; 0: none."""

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Int64]:
        """Read prompts; return the (prompts, width) state behind each and its slot."""

    def feed(self, parents: Int64, tokens: Int64) -> tuple[torch.Tensor, Int64]:
        """Let token `i` follow the slot `parents[i]`; return the (tokens, width) states and the new slots.

        Slots are numbered upwards from `next_slot`, so that a token may follow one of the same call.
        """

    @property
    def next_slot(self) -> int:
        """Slot of the next token that is fed."""

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Map (n, width) states to (n, columns) float32 logits; columns as in `Backbone.column_of`."""

    def logits_at(self, states: torch.Tensor, owner: Int64, columns: Int64) -> torch.Tensor:
        """Return the (pairs,) float32 logits of columns[i] behind states[owner[i]]; `owner` ascends."""


class Work:
    """What a session has done so far.

    calls: forward passes. tokens: positions computed. steps: tokens by which searches lengthened their beams.
    model_s: seconds in the model and its head. search_s: seconds of searches outside the model. mask_s: those of them
    spent on the mask, asking the trie what is allowed and choosing the best of it; the rest is the bookkeeping of the
    beams, which any beam search has. dead_beams: beams lost because nothing they might write had a probability.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self.calls = 0
        self.tokens = 0
        self.dead_beams = 0
        self.steps = 0
        self.model_s = 0.0
        self.search_s = 0.0
        self.mask_s = 0.0
        self._clock = clock

    @contextmanager
    def model(self) -> Iterator[None]:
        """Count the time of the block as the model's."""
        start = self._clock()
        yield
        self.model_s += self._clock() - start

    @contextmanager
    def search(self) -> Iterator[None]:
        """Count the time of the block that is not the model's as the search's."""
        start, before = self._clock(), self.model_s
        yield
        self.search_s += self._clock() - start - (self.model_s - before)

    @contextmanager
    def mask(self) -> Iterator[None]:
        """Count the time of the block as the mask's."""
        start = self._clock()
        yield
        self.mask_s += self._clock() - start

    def add(self, other: Work) -> None:
        """Add what another session did."""
        for name in ("calls", "tokens", "dead_beams", "steps", *_SECONDS):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def count_into(self, counters: dict[str, float]) -> None:
        """Add model_calls, dead_beams, model_s, search_s and mask_s to running totals."""
        seconds = {name: getattr(self, name) for name in _SECONDS}
        for name, value in ({"model_calls": self.calls, "dead_beams": self.dead_beams} | seconds).items():
            counters[name] = counters.get(name, 0) + value


def told(counters: Mapping[str, float]) -> dict[str, float]:
    """Turn running totals of `Work.count_into` into what a system tells: seconds become shares of their sum.

    >>> told({"queries": 2, "model_s": 3.0, "search_s": 1.0, "mask_s": 0.5})
    {'queries': 2, 'search_share': 0.25, 'mask_share': 0.125}
    """
    found = {name: value for name, value in counters.items() if name not in _SECONDS}
    model_s, search_s, mask_s = (counters.get(name, 0.0) for name in _SECONDS)
    total = model_s + search_s
    return found | ({"search_share": search_s / total, "mask_share": mask_s / total} if total else {})


def padded(paths: Sequence[Sequence[int]], fill: int = -1) -> np.ndarray:
    """Lay rows of different lengths into one array, `fill` behind the end of a shorter one."""
    array = np.full((len(paths), max((len(p) for p in paths), default=0)), fill, dtype=np.int64)
    for place, path in enumerate(paths):
        array[place, : len(path)] = path
    return array

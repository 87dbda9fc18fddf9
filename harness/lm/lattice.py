"""A key-value cache for continuations that branch.

A row holds one prompt and every token any of its branches was ever given; no branch is copied or reordered when
a beam forks or dies. Which tokens a branch sees is said by its path, the slots of its own tokens: the attention
mask of a new token is its prompt, its path and itself. Beams, titles, passages and assessments of one question
thus share the prompt's keys and values, and a stage starts from the cache of the stage before.

Works for causal models that take `position_ids` and a 4-D attention mask (rotary or learned positions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.lm.backbone import Backbone

if TYPE_CHECKING:
    import torch

Ints = np.ndarray


class Lattice:
    """Feeds tokens to a backbone; each may follow any token fed before.

    rows: prompts in the batch. `calls` counts forward passes, `tokens` the positions computed, padding included,
    `dead_beams` the beams a search lost because nothing it might write had a probability.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.calls = 0
        self.tokens = 0
        self.dead_beams = 0
        self._cache: Any = None
        self._prefix: np.ndarray = np.zeros((0, 0), dtype=np.bool_)  # (rows, slots of the prompt): not padding
        self._width = 0

    def prefill(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Start one row a prompt; return the (rows, hidden) state behind each prompt's last token."""
        import torch
        from transformers import DynamicCache

        lengths = np.array([len(p) for p in prompts])
        width = int(lengths.max())
        tokens = np.zeros((len(prompts), width), dtype=np.int64)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = prompt
        self._prefix = np.arange(width) < lengths[:, None]
        self._cache, self._width = DynamicCache(), 0
        causal = np.tril(np.ones((width, width), dtype=np.bool_))
        positions = np.broadcast_to(np.arange(width), tokens.shape)
        hidden = self._forward(tokens, positions, np.broadcast_to(causal, (len(prompts), width, width)))
        return hidden[torch.arange(len(prompts)), torch.from_numpy(lengths - 1)]

    def feed(self, rows: Ints, paths: Ints, tokens: Ints) -> tuple[torch.Tensor, Ints]:
        """Feed each branch a chain of tokens.

        Args:
            rows: (branches,) prompt row of each branch, ascending.
            paths: (branches, depth) slots of the tokens a branch was given before, -1 where it has fewer.
            tokens: (branches, chain) tokens to feed, -1 behind the end of a shorter chain.

        Returns:
            (branches, chain, hidden) states and (branches, chain) slots, -1 for padding.
        """
        import torch

        count, chain = tokens.shape
        place = _place_in_row(rows)
        batch, grid = len(self._prefix), (int(place.max()) + 1) * chain
        columns = place[:, None] * chain + np.arange(chain)  # (branches, chain) column in the grid
        slots = np.where(tokens >= 0, self._width + columns, -1)
        flat = np.zeros((batch, grid), dtype=np.int64)
        flat[rows[:, None], columns] = np.maximum(tokens, 0)
        seen = self._visible(rows, paths)  # (branches, width)
        mask = np.zeros((batch, grid, self._width + grid), dtype=np.bool_)
        mask[:, np.arange(grid), self._width + np.arange(grid)] = True  # padding sees itself: no empty softmax
        mask[rows[:, None], columns, : self._width] = seen[:, None, :]
        for step in range(chain):
            mask[rows[:, None], columns[:, step:], self._width + columns[:, step, None]] = True
        positions = np.zeros((batch, grid), dtype=np.int64)
        positions[rows[:, None], columns] = seen.sum(axis=1)[:, None] + np.arange(chain)
        hidden = self._forward(flat, positions, mask)
        return hidden[torch.from_numpy(rows)[:, None], torch.from_numpy(columns)].view(count, chain, -1), slots

    def fork(self, rows: Ints, paths: Ints) -> Lattice:
        """Return a lattice of one row a branch, whose prompt is that branch's prompt and path; copies only these."""
        import torch
        from transformers import DynamicCache

        seen = self._visible(rows, paths)
        lengths = seen.sum(axis=1)
        width = int(lengths.max())
        order = np.argsort(~seen, axis=1, kind="stable")[:, :width]  # visible slots first; slots grow with position
        where = torch.from_numpy(order).to(self.backbone.device)
        row = torch.from_numpy(rows).to(self.backbone.device)
        other = Lattice(self.backbone)
        other._prefix = np.arange(width) < lengths[:, None]
        other._width = width
        pick = [
            tuple(kept[row[:, None], :, where].transpose(1, 2) for kept in (layer.keys, layer.values))
            for layer in self._cache.layers
        ]
        other._cache = DynamicCache(pick)
        return other

    @property
    def prompt_width(self) -> int:
        """Slots of the longest prompt."""
        return int(self._prefix.shape[1])

    def count_into(self, counters: dict[str, float]) -> None:
        """Add this lattice's model_calls and dead_beams to running totals."""
        counters["model_calls"] = counters.get("model_calls", 0) + self.calls
        counters["dead_beams"] = counters.get("dead_beams", 0) + self.dead_beams

    def _visible(self, rows: Ints, paths: Ints) -> np.ndarray:
        """(branches, width) which slots a branch sees: its prompt and its path."""
        seen = np.zeros((len(rows), self._width + 1), dtype=np.bool_)
        seen[:, : self._prefix.shape[1]] = self._prefix[rows]
        np.put_along_axis(seen, np.where(paths >= 0, paths, self._width), True, axis=1)
        return seen[:, :-1]

    def _forward(self, tokens: Ints, positions: Ints, mask: np.ndarray) -> torch.Tensor:
        import torch

        device = self.backbone.device
        with torch.inference_mode():
            out = self.backbone.model.base_model(
                input_ids=torch.tensor(tokens, device=device),
                position_ids=torch.tensor(positions, device=device),
                attention_mask=torch.tensor(mask, device=device)[:, None],
                past_key_values=self._cache,
                use_cache=True,
            )
        self._width += tokens.shape[1]
        self.calls += 1
        self.tokens += tokens.size
        hidden: torch.Tensor = out.last_hidden_state
        return hidden


def _place_in_row(rows: Ints) -> Ints:
    """Number the branches of each row from 0; `rows` ascends."""
    first = np.searchsorted(rows, rows, side="left")
    return np.arange(len(rows)) - first
